//! Who is waited for, in virtual time.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, advance},
};

use super::*;

const LIMIT: Duration = Duration::from_secs(30);
/// Bytes that fit between the two ends.
const ROOM: usize = 64;

#[tokio::test(start_paused = true)]
async fn who_never_reads_is_given_up_when_the_time_is_over() {
    let (near, _far) = duplex(ROOM);
    let mut stream = Patience::new(near, LIMIT);
    let start = Instant::now();

    let error = stream.write_all(&[0; 2 * ROOM]).await.unwrap_err();

    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(start.elapsed() >= LIMIT);
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_gets_everything() {
    let (near, mut far) = duplex(ROOM);
    let mut stream = Patience::new(near, LIMIT);
    let sent = tokio::spawn(async move { stream.write_all(&[7; 10 * ROOM]).await });

    let mut received = Vec::new();
    while received.len() < 10 * ROOM {
        advance(LIMIT - Duration::from_secs(1)).await;
        let mut part = [0; ROOM];
        let count = far.read(&mut part).await.unwrap();
        received.extend_from_slice(&part[..count]);
    }

    sent.await.unwrap().unwrap();
    assert_eq!(received, [7; 10 * ROOM]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_no_reason_to_give_up() {
    let (near, mut far) = duplex(ROOM);
    let mut stream = Patience::new(near, LIMIT);
    stream.write_all(b"all").await.unwrap();
    advance(10 * LIMIT).await;

    stream.write_all(b" of it").await.unwrap();

    drop(stream);
    let mut received = String::new();
    far.read_to_string(&mut received).await.unwrap();
    assert_eq!(received, "all of it");
}
