//! Lists in pieces: whole, or seen not to be.

use api::http::{Endpoint, FlowState, Flows, Protocol};
use axum::body::to_bytes;

use super::*;

fn flow(port: u16) -> Flow {
    let endpoint = |address: [u8; 4], port| Endpoint {
        address: address.into(),
        port,
    };
    Flow {
        protocol: Protocol::Tcp,
        state: FlowState::Established,
        client: endpoint([10, 1, 0, 7], port),
        external: endpoint([192, 0, 2, 10], port),
        remote: endpoint([198, 51, 100, 9], 5432),
        target: None,
        rule: None,
        pool: Some("team-a".to_owned()),
        age_seconds: 9,
        idle_seconds: 1,
        expires_in_seconds: 7439,
        packets_out: 4,
        bytes_out: 400,
        packets_in: 3,
        bytes_in: 300,
        interface_out: Some("eth1".to_owned()),
        interface_in: None,
    }
}

fn parsed(json: &[u8]) -> Flows {
    serde_json::from_slice(json).unwrap()
}

#[test]
fn a_listing_in_pieces_is_the_body_that_the_api_promises() {
    for listed in [0_u16, 1, 2, 1000] {
        let mut listing = Listing::new();
        let mut json = Vec::new();
        let mut pieces = 0;
        for port in 0..listed {
            listing.add(&flow(port));
            if let Some(piece) = listing.take_full() {
                pieces += 1;
                json.extend(piece);
            }
        }
        let counts = Counts {
            listed: listed.into(),
            matched: 2000,
            total: 3000,
        };
        json.extend(listing.finish(counts));

        let flows = parsed(&json);
        assert_eq!(flows.flows, (0..listed).map(flow).collect::<Vec<_>>());
        assert_eq!((flows.matched, flows.total), (2000, 3000));
        assert!(flows.truncated);
        assert_eq!(pieces > 0, json.len() > 2 * PIECE_BYTES, "{pieces} pieces");
    }
}

/// What a client receives of these pieces.
async fn received(sent: Vec<Result<Piece, ReadError>>) -> Result<Vec<u8>, axum::Error> {
    let (sender, pieces) = mpsc::channel(sent.len().max(1));
    for piece in sent {
        sender.try_send(piece).ok().unwrap();
    }
    drop(sender);
    let body = Body::from_stream(stream::unfold(Some((None, pieces)), next));
    to_bytes(body, usize::MAX).await.map(Vec::from)
}

#[tokio::test]
async fn pieces_arrive_in_their_order() {
    let sent = vec![
        Ok(Piece::Part(b"one ".to_vec())),
        Ok(Piece::Part(b"two ".to_vec())),
        Ok(Piece::Last(b"three".to_vec())),
    ];

    assert_eq!(received(sent).await.unwrap(), b"one two three");
}

#[tokio::test]
async fn half_a_list_never_looks_like_a_whole_one() {
    let part = || Ok(Piece::Part(b"one".to_vec()));
    let failed = ReadError {
        table: "FLOWS",
        source: io::ErrorKind::InvalidInput.into(),
    };

    assert!(received(vec![part()]).await.is_err(), "the walk panicked");
    assert!(
        received(vec![part(), Err(failed)]).await.is_err(),
        "the walk failed"
    );
    assert!(received(vec![]).await.is_err(), "nothing came at all");
}

#[test]
fn so_many_lists_at_a_time_and_one_more_when_one_is_done() {
    let lists = Lists::default();
    let mut places: Vec<_> = (0..LISTS_MAX)
        .map(|_| lists.place().ok().unwrap())
        .collect();

    assert!(lists.place().is_err());
    places.pop();

    assert!(lists.place().is_ok());
}
