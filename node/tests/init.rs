//! How a cluster comes to be, with nodes that really call each other: one cluster, whoever asks and how often.

use std::sync::Arc;

use node::host::peer_service::{self, InitError};
use node::host::{Node, NodeOptions};
use node::shard::replica::ReplicaConfig;

struct Nothing;

#[tonic::async_trait]
impl peer_service::AnswerPeers for Nothing {
    async fn answer(&self, _: &[u8]) -> Result<Vec<u8>, tonic::Status> {
        Err(tonic::Status::unimplemented("not here"))
    }
}

/// Nodes that wait, each with a list of all; `spell` writes an address of the list.
async fn waiting(
    count: usize,
    spell: impl Fn(&[String]) -> Vec<String>,
) -> (Vec<Arc<Node>>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
    }
    let addresses: Vec<String> = listeners
        .iter()
        .map(|listener| listener.local_addr().expect("it is bound").to_string())
        .collect();
    let mut nodes = Vec::new();
    for (n, listener) in listeners.into_iter().enumerate() {
        let node = Node::open(NodeOptions {
            data_dir: dir.path().join(n.to_string()),
            advertise: addresses[n].clone(),
            http: String::new(),
            join: spell(&addresses),
            clock: "fixed:250us".parse().expect("a clock source"),
            cores: 1,
            replica: ReplicaConfig::default(),
        });
        let node = node.expect("it opens");
        let service = peer_service::PeerService::new(node.clone(), Arc::new(Nothing));
        let service = proto::rpc::internal::peer_server::PeerServer::new(service);
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.expect("it is served to the end");
        });
        nodes.push(node);
    }
    (nodes, dir)
}

fn stop(nodes: &[Arc<Node>]) {
    nodes.iter().filter_map(|node| node.running()).for_each(|running| running.stop());
}

#[tokio::test]
async fn nodes_initialised_all_at_once_and_twice_each_make_one_cluster() {
    let (nodes, _dir) = waiting(3, <[String]>::to_vec).await;
    let both = |node: &Arc<Node>| {
        let node = node.clone();
        tokio::spawn(
            async move { tokio::join!(peer_service::init(&node), peer_service::init(&node)) },
        )
    };
    let inits: Vec<_> = nodes.iter().map(both).collect();
    let mut existed = Vec::new();
    for init in inits {
        let (first, second) = init.await.unwrap();
        existed.extend([first.unwrap(), second.unwrap()]);
    }
    assert!(existed.contains(&false), "{existed:?}");
    let members: Vec<_> = nodes.iter().map(|node| node.member().unwrap()).collect();
    assert!(members.iter().all(|member| member.cluster == members[0].cluster));
    assert!(members.iter().all(|member| member.nodes == members[0].nodes));
    assert!(members.iter().all(|member| member.secret == members[0].secret));
    assert_ne!(members[0].secret, members[0].cluster);
    let maker = nodes.iter().min_by_key(|node| node.directory()).unwrap();
    assert!(peer_service::init(maker).await.unwrap(), "it is there already");
    stop(&nodes);
}

#[tokio::test]
async fn node_listed_twice_is_refused_before_anything_is_written() {
    let twice = |addresses: &[String]| {
        let again = addresses[0].replace("127.0.0.1", "localhost");
        vec![addresses[0].clone(), again]
    };
    let (nodes, _dir) = waiting(1, twice).await;
    let refused = peer_service::init(&nodes[0]).await.unwrap_err();
    assert!(matches!(refused, InitError::ListedTwice { .. }), "{refused}");
    assert_eq!(nodes[0].member(), None);
}

#[tokio::test]
async fn stranger_is_turned_away_before_it_sends_anything() {
    let (nodes, _dir) = waiting(1, <[String]>::to_vec).await;
    peer_service::init(&nodes[0]).await.unwrap();
    let mut client = peer_service::connect(&nodes[0].options().advertise).await.unwrap();
    let silent = tokio_stream::pending::<proto::rpc::internal::PeerBatch>();
    let refused = tokio::time::timeout(std::time::Duration::from_secs(2), client.exchange(silent));
    let status = refused.await.expect("before the time for a hello is over").unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
    stop(&nodes);
}
