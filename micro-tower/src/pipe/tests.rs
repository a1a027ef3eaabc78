//! Two ends of a pipe with nothing between them but what a test wants to go wrong.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    aside::Hear,
    packet::Packet,
    stream::{Outlet, Pipe, Sending},
    table::{Table, WINDOW},
};

/// Brings messages to one pipe of a table, but for the chunks with the numbers in `drops`.
struct Straight {
    table: Arc<Table>,
    id: u64,
    drops: &'static [u64],
}

impl Outlet for Straight {
    fn send(&self, message: Bytes, _: u64) -> Sending {
        let packet = Packet::decode(message).expect("a pipe speaks its own language");
        let dropped = matches!(&packet, Packet::Data { number, .. } if self.drops.contains(number));
        if !dropped {
            self.table.deliver(self.id, packet, None);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A pipe, whose first end loses the chunks in `drops`, and the table and id of each end.
fn pipe(drops: &'static [u64]) -> [(Pipe, Arc<Table>, u64); 2] {
    let tables = [(); 2].map(|()| Arc::<Table>::default());
    let [one, two] = [tables[0].insert(), tables[1].insert()];
    let (first, second) = (one.id, two.id);
    let there = Straight { table: tables[1].clone(), id: second, drops };
    let back = Straight { table: tables[0].clone(), id: first, drops: &[] };
    let [near, far] = tables;
    [(Pipe::new(one, Box::new(there)), near, first), (Pipe::new(two, Box::new(back)), far, second)]
}

#[tokio::test]
async fn bytes_arrive_whole_and_in_order_and_then_the_end() {
    let [(mut here, ..), (mut there, ..)] = pipe(&[]);
    let text: Vec<u8> = (0..20_000_000_u32).map(|number| (number / 7) as u8).collect();
    let sent = text.clone();
    let writing = tokio::spawn(async move {
        here.write_all(&sent).await.unwrap();
        here.shutdown().await.unwrap();
        // What the other end says is read too.
        here.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let mut read = Vec::new();
    there.read_to_end(&mut read).await.unwrap();
    assert!(read == text);
    there.shutdown().await.unwrap();
    writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_sends_more_than_a_window_to_one_who_does_not_read() {
    let [(mut here, ..), (mut there, ..)] = pipe(&[]);
    let mut written = 0;
    while let Ok(result) = timeout(Duration::from_millis(1), here.write(&[7; 1000])).await {
        written += result.unwrap();
    }
    assert_eq!(written as u64, WINDOW * 1000);
    // A quarter of the window that was read makes room for as much.
    let mut room = vec![0; written / 4];
    there.read_exact(&mut room).await.unwrap();
    timeout(Duration::from_millis(1), here.write(&[7; 1000])).await.expect("there is room").unwrap();
}

#[tokio::test]
async fn a_chunk_that_is_lost_on_the_way_breaks_the_pipe() {
    let [(mut here, ..), (mut there, ..)] = pipe(&[1]);
    for word in [b"one", b"two", b"six"] {
        here.write_all(word).await.unwrap();
    }
    let mut read = Vec::new();
    let error = there.read_to_end(&mut read).await.unwrap_err();
    assert_eq!(read, b"one", "nothing is left out");
    assert!(error.to_string().contains("lost a message"), "{error}");
}

#[tokio::test]
async fn what_nobody_got_is_known_to_be_lost_with_all_that_follows() {
    let [(mut here, table, id), _there] = pipe(&[]);
    let progress = here.progress();
    here.write_all(b"sent").await.unwrap();
    let mark = progress.written();
    here.write_all(b"returned").await.unwrap();
    let later = progress.written();
    assert!(!progress.is_lost(mark));
    table.lose(id, 1);
    assert!(!progress.is_lost(0) && progress.is_lost(mark) && progress.is_lost(later));
    assert!(here.read_u8().await.unwrap_err().to_string().contains("nobody listens"));
    assert!(here.write_all(b"more").await.unwrap_err().to_string().contains("nobody listens"));
}

#[tokio::test]
async fn what_a_peer_said_before_it_died_is_read_though_one_writes_to_it_meanwhile() {
    let [(mut here, table, id), (mut there, ..)] = pipe(&[]);
    let progress = here.progress();
    for word in [b"answer", b"ending"] {
        there.write_all(word).await.unwrap();
    }
    table.lose(id, 0);
    let mark = progress.written();
    here.write_all(b"another question").await.unwrap();
    assert!(progress.is_lost(mark), "it is known to have gone nowhere");
    let mut read = Vec::new();
    let error = here.read_to_end(&mut read).await.unwrap_err();
    assert_eq!(read, b"answerending");
    assert!(error.to_string().contains("nobody listens"), "{error}");
    assert!(here.write_all(b"more").await.is_err());
}

#[tokio::test]
async fn what_was_said_aside_arrives_before_bytes_that_were_written_after_it() {
    struct Heard(mpsc::UnboundedSender<Bytes>);
    impl Hear for Heard {
        fn hear(&mut self, message: Bytes) {
            self.0.send(message).unwrap();
        }
    }
    let [(mut here, ..), (mut there, ..)] = pipe(&[]);
    let (sender, mut heard) = mpsc::unbounded_channel();
    there.attend(Heard(sender));
    let answers = [Bytes::from("one answer"), Bytes::from("and another")];
    answers.iter().for_each(|answer| here.asides().say(answer.clone()));
    here.write_all(b"good-bye").await.unwrap();
    there.read_exact(&mut [0; 8]).await.unwrap();
    assert_eq!(
        answers.map(|_| heard.try_recv().ok()),
        [Some("one answer".into()), Some("and another".into())]
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_that_says_nothing_is_given_up_and_one_that_lives_is_not() {
    let [(mut here, ..), (mut there, ..)] = pipe(&[]);
    let began = Instant::now();
    // Whoever is read from says that it is there.
    let mut byte = [0];
    let reading = tokio::spawn(async move { there.read(&mut byte).await.map(|_| ()) });
    assert!(timeout(Duration::from_secs(60), here.read_u8()).await.is_err(), "both ends live");
    reading.abort();
    let _ = reading.await;
    let [(mut here, ..), (frozen, ..)] = pipe(&[]);
    let error = timeout(Duration::from_secs(60), here.read_u8()).await.expect("it is noticed").unwrap_err();
    assert!(error.to_string().contains("ten seconds"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(75));
    drop(frozen);
}
