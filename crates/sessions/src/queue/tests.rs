//! What a full queue does.

use super::*;

#[test]
fn what_finds_no_room_is_counted_and_what_was_there_stays() {
    let mut queue = Queue::new(3);

    let taken: Vec<bool> = (0..5).map(|item| queue.push(item)).collect();

    assert_eq!(taken, [true, true, true, false, false]);
    assert_eq!(queue.lost(), 2);
    assert_eq!(queue.take(2), [0, 1]);
    assert!(queue.push(9));
    assert_eq!(queue.take(usize::MAX), [2, 9]);
    assert!(queue.is_empty());
}
