//! An API server that plays a recording: a list, and the events of a watch when they came.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use tower::BoxError;

/// What is played: a list, then lines, each so long after the watches were opened.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) list: String,
    pub(super) events: Vec<(Duration, String)>,
}

/// Starts it; gives its URL. The events begin once two watch, and each goes to both, first to the one or to the other. Ends
/// with the program.
pub(super) fn play(recording: Recording) -> Result<String, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let (watching, watchers) = mpsc::channel();
    let list: Arc<str> = recording.list.into();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (watching, list) = (watching.clone(), list.clone());
            thread::spawn(move || answer(stream, &list, &watching));
        }
    });
    thread::spawn(move || -> Result<(), BoxError> {
        let mut two = [watchers.recv()?, watchers.recv()?];
        let started = Instant::now();
        for (at, event) in recording.events {
            thread::sleep((started + at).saturating_duration_since(Instant::now()));
            let chunk = format!("{:x}\r\n{event}\n\r\n", event.len() + 1);
            for stream in &mut two {
                stream.write_all(chunk.as_bytes())?;
            }
            two.reverse();
        }
        // Both stay open until the program that measures has seen enough.
        watchers.recv().map(drop).map_err(Into::into)
    });
    Ok(url)
}

/// Answers lists; hands over the connection that asks for a watch.
fn answer(stream: TcpStream, list: &str, watching: &mpsc::Sender<TcpStream>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writing = stream.try_clone()?;
    let mut reading = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reading.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let start = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        if head.lines().next().is_some_and(|line| line.contains("watch=true") || line.contains("watch=1")) {
            write!(writing, "{start}transfer-encoding: chunked\r\n\r\n")?;
            watching.send(writing).ok();
            return Ok(());
        }
        write!(writing, "{start}content-length: {}\r\n\r\n", list.len())?;
        writing.write_all(list.as_bytes())?;
    }
}
