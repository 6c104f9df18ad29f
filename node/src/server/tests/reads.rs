//! Reads of many rows.

use super::*;

fn tens(ids: impl IntoIterator<Item = i64>) -> Vec<Option<(i64, i64)>> {
    ids.into_iter().map(|id| Some((id, 10))).collect()
}

#[tokio::test]
async fn points_come_first_in_their_order_and_then_each_range_in_its_own() {
    let mut served = Served::bank(150).await;
    let mut request = read_ranges(&[(98, 103), (1, 2), (2, 3)]);
    request.keys.as_mut().unwrap().points = [150, 999, 1].map(bigint_key).to_vec();
    let chunks = served.read(request).await.unwrap();
    let mut expected = tens([150]);
    expected.push(None);
    expected.extend(tens([1, 98, 99, 100, 101, 102, 103, 1, 2, 2, 3]));
    assert_eq!(pairs(&chunks), expected, "over the shards' border, and shared rows twice");
    assert_eq!(chunks.last().unwrap().resume_token.len(), 0);
    let timestamps: Vec<u64> = chunks.iter().map(|chunk| chunk.read_timestamp).collect();
    assert!(timestamps[0] > 0 && timestamps[1..].iter().all(|at| *at == 0));
}

#[tokio::test]
async fn pages_continue_at_the_first_pages_timestamp() {
    let mut served = Served::bank(10).await;
    let mut request = read_ranges(&[(1, 4), (3, 10)]);
    request.keys.as_mut().unwrap().points = [9, 8].map(bigint_key).to_vec();
    request.page_rows = 3;
    request.limit = 7;
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let chunks = served.read(request.clone()).await.unwrap();
        let page = pairs(&chunks);
        assert!(page.len() <= 3);
        seen.extend(page);
        pages += 1;
        served.commit_alone(vec![update([(pages, 0), (10, 0)])]).await.unwrap();
        let last = chunks.last().unwrap();
        if !last.more {
            break;
        }
        request.resume_token = last.resume_token.clone();
    }
    assert_eq!(seen, tens([9, 8, 1, 2, 3, 4, 3, 4, 5]), "two points, and seven rows of ranges");
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn token_of_another_request_or_not_of_this_cluster_is_refused() {
    let mut served = Served::bank(4).await;
    let mut request = read_ranges(&[(1, 4)]);
    request.page_rows = 1;
    let chunks = served.read(request.clone()).await.unwrap();
    let token = chunks.last().unwrap().resume_token.clone();
    let mut others = vec![read_ranges(&[(1, 3)]), request.clone(), request.clone()];
    others[1].columns.pop();
    let begin = v1::transaction_selector::Selector::Begin(v1::ReadWriteOptions::default());
    others[2].transaction = selector(begin);
    for other in others {
        let other = v1::ReadRequest { resume_token: token.clone(), ..other };
        let status = served.read(other).await.unwrap_err();
        assert_eq!(Served::kind(&status), ErrorKind::ResumeTokenInvalid);
    }
    let forged = v1::ReadRequest { resume_token: vec![1, 2, 3].into(), ..request };
    let status = served.read(forged).await.unwrap_err();
    assert_eq!(Served::kind(&status), ErrorKind::ResumeTokenInvalid);
}

#[tokio::test]
async fn large_answers_come_in_chunks_and_can_be_resumed_after_any() {
    let mut served = Served::bank(0).await;
    let rows = (1..=6).map(|id: i64| v1::RowValues {
        values: vec![id.into(), 10.into(), "x".repeat(3 << 20).into()],
    });
    for row in rows {
        let write = v1::Write {
            table: table(),
            columns: ["id", "balance", "note"].map(str::to_owned).to_vec(),
            rows: vec![row],
        };
        let operation = Some(v1::mutation::Operation::Insert(write));
        served.commit_alone(vec![v1::Mutation { operation }]).await.unwrap();
    }
    let mut ranges = read_ranges(&[(1, 6)]);
    ranges.columns.clear();
    let mut points = read_points(strong(), &[6, 1, 2, 3, 4, 5]);
    points.columns.clear();
    for (request, order) in [(ranges, [1, 2, 3, 4, 5, 6]), (points, [6, 1, 2, 3, 4, 5])] {
        let chunks = served.read(request.clone()).await.unwrap();
        assert!(chunks.len() > 2, "{} chunks", chunks.len());
        assert_eq!(chunks[0].columns, ["id", "balance", "note"]);
        assert_eq!(pairs(&chunks), tens(order));
        let first = chunks[0].rows.len();
        let resumed = v1::ReadRequest { resume_token: chunks[0].resume_token.clone(), ..request };
        assert_eq!(pairs(&served.read(resumed).await.unwrap()), tens(order[first..].to_vec()));
    }
}

#[tokio::test]
async fn read_of_no_row_still_begins_and_names_the_columns() {
    let mut served = Served::bank(1).await;
    let begin = v1::transaction_selector::Selector::Begin(v1::ReadWriteOptions::default());
    let request = v1::ReadRequest {
        transaction: selector(begin),
        table: table(),
        ..v1::ReadRequest::default()
    };
    let chunks = served.read(request).await.unwrap();
    assert_eq!(chunks.len(), 1);
    assert!(chunks[0].transaction.is_some());
    assert_eq!(chunks[0].columns, ["id", "balance", "note"]);
    assert_eq!(chunks[0].rows, []);
}
