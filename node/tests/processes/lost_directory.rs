//! A node whose data directory is gone has lost its votes with it: it may not come back under its old id (T49).

use crate::lost_quorum::{assert_unavailable_in_time, impatient_client};
use crate::support::{Cluster, client, create_table, put, read_one, spandrel, until};

const LOST: usize = 2;

#[tokio::test]
async fn node_with_its_directory_wiped_is_refused_by_name_and_never_votes() {
    let mut cluster = Cluster::start(3).await;
    let client = client(&cluster.addresses()).await;
    create_table(&client, 1).await;
    until("a commit", async || put(&client, 1, 1).await).await;

    cluster.nodes[LOST].kill().await;
    std::fs::remove_dir_all(&cluster.nodes[LOST].data_dir).expect("it is the test's own");
    let address = cluster.nodes[LOST].address.clone();
    let ended = cluster.nodes[LOST].start_in_vain().await;
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    let sentence = ended.sentence();
    assert!(sentence.contains(&address) && sentence.contains("node n3"), "{sentence}");
    assert!(sentence.contains("old directory"), "it says what to do: {sentence}");
    // Asked again it says the same: nothing was left behind that makes a member of it.
    assert_eq!(cluster.nodes[LOST].start_in_vain().await.code, Some(4));

    // The two others are a majority.
    until("a commit", async || put(&client, 1, 2).await).await;
    let found = until("a strong read", async || read_one(&client, 1).await).await;
    assert_eq!(found, Some(2));

    // With both killed nobody can tell the wiped node that it was a member. It waits, and nothing makes a
    // cluster of it.
    cluster.nodes[0].kill().await;
    cluster.nodes[1].kill().await;
    cluster.nodes[LOST].start().await;
    let init = spandrel(&["init", "--url", &address]).await;
    assert_eq!(init.code, Some(1), "{init:#?}");
    assert!(init.sentence().contains("does not answer"), "{init:#?}");
    // With one of the two back there would be a majority if it voted.
    cluster.nodes[1].start().await;
    let alone = impatient_client(&cluster.nodes[1].address).await;
    assert_unavailable_in_time(&alone).await;
    let ended = cluster.nodes[LOST].ended().await;
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    assert!(ended.sentence().contains("node n3"), "{ended:#?}");

    cluster.nodes[0].start().await;
    until("a commit", async || put(&client, 1, 3).await).await;
}
