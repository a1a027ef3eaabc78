//! What a call in go-micro's RPC costs a server of ours and go-micro's own, for the same client and the same bytes.

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use micro_tower::{Fault, Server, wire::Router};
use rustix::thread::gettid;
use serde_json::{Value, json};
use tokio::{runtime::Builder, sync::oneshot};
use tower::BoxError;

use crate::{
    bar::Bar,
    options::Options,
    report::{Report, Table},
    rotation::rotate,
    statistics::{median, paired_ratio, percentile},
};

/// Calls in a round, one after another.
const CALLS: usize = 2_000;
/// How many connections take turns. go-micro lets go of a call after it has answered it, and what comes on the same
/// connection before that is never answered: on one connection it loses about one call in two thousand.
const CONNECTIONS: usize = 16;
/// An answer that has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(2);
/// The peer of `micro-tower`'s tests, which serves the same.
const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../micro-tower/tests/go/v5");
/// The module that the peer is written for, and the one that is asked for first, with the version of it.
const V5: &str = "go-micro.dev/v5";
const V6: &str = "go-micro.dev/v6";
const NEWEST: &str = "v6.10.0";
/// What a client of v5 sends, with the number of the call.
const REQUEST: &str = "POST / HTTP/1.1\r\nHost: greeter\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 16\r\n\
    Accept: application/json\r\nContent-Type: application/json\r\nMicro-Endpoint: Greeter.Hello\r\nMicro-Id: @\r\n\
    Micro-Method: Greeter.Hello\r\nMicro-Service: greeter\r\nTimeout: 5000000000\r\n\r\n{\"name\":\"John\"}\n";
const ANSWER: &[u8] = b"{\"greeting\":\"Hello John\"}\n";

/// Measures both in rotation. Ours serves on one thread, go-micro on as many as it likes.
///
/// # Errors
///
/// When a server does not start, or answers something else.
pub fn run(options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    let rounds = options.rounds(5, 21);
    if Command::new("go").arg("version").output().is_err() {
        report.say("skipped: no go on PATH");
        return Ok(Vec::new());
    }
    let directory = tempfile::tempdir()?;
    let (program, version) = build(directory.path())?;
    let theirs = Theirs::start(&program)?;
    report.say(format!("go-micro {version}"));
    report.say(format!(
        "{rounds} rounds of {CALLS} calls one after another, on {CONNECTIONS} connections in turn, medians"
    ));
    let tasks = PathBuf::from(format!("/proc/{}/task", theirs.child.id()));
    let mut sides =
        [ours()?, (tasks, theirs.address)].map(|(used, at)| Side { used, client: Client::new(at) });
    let mut measure = |side: usize| sides[side].round();
    // Warms up what there is to warm up.
    measure(0).and_then(|_| measure(1))?;
    let measured = rotate(2, rounds, measure);
    let mut table = Table::new("server").column("CPU us", 1).column("p50 us", 1).column("p99 us", 1);
    let mut figures = Vec::new();
    for (name, rounds) in ["ours", "go-micro"].into_iter().zip(measured) {
        let rounds = rounds.into_iter().collect::<Result<Vec<_>, _>>()?;
        let cpu: Vec<f64> = rounds.iter().map(|(_, cpu)| cpu / 1e3).collect();
        let micros = |share| rounds.iter().map(|(nanos, _)| percentile(nanos, share) as f64 / 1e3).collect();
        let (half, most): (Vec<f64>, Vec<f64>) = (micros(0.5), micros(0.99));
        table = table.row(name, [median(&cpu), median(&half), median(&most)]);
        figures.push((cpu, half));
    }
    report.table(table.charted("CPU us"));
    let [ours, lost] = sides.map(|side| side.client.lost);
    report.say(format!("never answered: {ours} calls by ours, {lost} by go-micro"));
    Ok(vec![
        Bar::at_most("mucp/cpu", paired_ratio(&figures[0].0, &figures[1].0), 1.0),
        Bar::at_most("mucp/latency", paired_ratio(&figures[0].1, &figures[1].1), 1.0),
        Bar::at_most("mucp/unanswered", ours as f64, 0.0),
    ])
}

/// A server as it is measured.
struct Side {
    /// Where Linux says how long its threads have run.
    used: PathBuf,
    client: Client,
}

impl Side {
    /// How many nanoseconds each call of a round took, in order of size, and its server's CPU for one.
    fn round(&mut self) -> Result<(Vec<u64>, f64), BoxError> {
        let before = used(&self.used)?;
        let mut nanos = (0..CALLS).map(|_| self.client.call()).collect::<Result<Vec<_>, _>>()?;
        let cpu = (used(&self.used)? - before) / CALLS as f64;
        nanos.sort_unstable();
        Ok((nanos, cpu))
    }
}

/// Calls a server on some connections in turn.
struct Client {
    address: SocketAddr,
    streams: Vec<Option<TcpStream>>,
    calls: usize,
    lost: usize,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let streams = (0..CONNECTIONS).map(|_| None).collect();
        Self { address, streams, calls: 0, lost: 0 }
    }

    /// How many nanoseconds a call took. One that is not answered is counted, and repeated elsewhere.
    fn call(&mut self) -> Result<u64, BoxError> {
        loop {
            self.calls += 1;
            let place = self.calls % CONNECTIONS;
            let mut stream = match self.streams[place].take() {
                Some(stream) => stream,
                None => connect(self.address)?,
            };
            let request = REQUEST.replace('@', &self.calls.to_string());
            let started = Instant::now();
            stream.write_all(request.as_bytes())?;
            if answered(&mut stream)? {
                self.streams[place] = Some(stream);
                return Ok(u64::try_from(started.elapsed().as_nanos())?);
            }
            self.lost += 1;
            // A server that loses many is measured at nothing.
            if self.lost > 100 {
                return Err(format!("{} calls to {} were not answered", self.lost, self.address).into());
            }
        }
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, BoxError> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads the answer; false if there is none.
fn answered(stream: &mut TcpStream) -> Result<bool, BoxError> {
    let (mut heard, mut space) = (Vec::new(), [0; 4096]);
    while !heard.ends_with(ANSWER) {
        match stream.read(&mut space) {
            Ok(0) => return Err(format!("answered {}", String::from_utf8_lossy(&heard)).into()),
            Ok(length) => heard.extend_from_slice(&space[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// The nanoseconds that a thread has run so far, or all threads of a process: by what Linux says of them.
fn used(place: &Path) -> Result<f64, BoxError> {
    if place.is_dir() {
        return fs::read_dir(place)?.map(|task| used(&task?.path().join("schedstat"))).sum();
    }
    let said = fs::read_to_string(place)?;
    Ok(said.split(' ').next().unwrap_or_default().parse()?)
}

/// Serves on a thread of its own, for as long as the program runs; gives what tells of that thread, and the address.
fn ours() -> Result<(PathBuf, SocketAddr), BoxError> {
    let (sender, started) = oneshot::channel();
    thread::spawn(move || -> Result<(), BoxError> {
        let hello = |request: Value| async move {
            let name = request["name"].as_str().unwrap_or_default();
            Ok::<_, Fault>(json!({ "greeting": format!("Hello {name}") }))
        };
        Builder::new_current_thread().enable_all().build()?.block_on(async {
            let bound = Server::new().wire(true).bind().await?;
            // Nobody waits any more where that fails.
            let _ = sender.send((gettid().as_raw_nonzero(), bound.local_address()));
            bound.serve_until(Router::new().route("Greeter.Hello", hello), std::future::pending()).await?;
            Ok(())
        })
    });
    let (thread, address) = started.blocking_recv()?;
    Ok((PathBuf::from(format!("/proc/self/task/{thread}/schedstat")), address))
}

/// go-micro's server, which ends with this.
struct Theirs {
    child: Child,
    address: SocketAddr,
}

impl Theirs {
    fn start(program: &Path) -> Result<Self, BoxError> {
        let mut child =
            Command::new(program).arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("it has no output")?;
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        match read.map_err(BoxError::from).and_then(|_| Ok(line.trim().parse()?)) {
            Ok(address) => Ok(Self { child, address }),
            Err(error) => {
                child.kill()?;
                Err(error)
            }
        }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the peer, with v6 where it can be had; gives the program and which go-micro it is.
fn build(directory: &Path) -> Result<(PathBuf, String), BoxError> {
    let source = fs::read_to_string(Path::new(PEER).join("main.go"))?;
    fs::write(directory.join("main.go"), source.replace(V5, V6))?;
    fs::write(directory.join("go.mod"), format!("module peer\n\ngo 1.24\n\nrequire {V6} {NEWEST}\n"))?;
    let program = directory.join("peer");
    let go = |place: &Path, mode: &str| {
        Command::new("go").current_dir(place).args(["build", mode, "-o"]).arg(&program).arg(".").output()
    };
    if go(directory, "-mod=mod")?.status.success() {
        return Ok((program, NEWEST.to_owned()));
    }
    let built = go(Path::new(PEER), "-mod=readonly")?;
    if !built.status.success() {
        return Err(format!("go-micro cannot be built: {}", String::from_utf8_lossy(&built.stderr)).into());
    }
    let module = fs::read_to_string(Path::new(PEER).join("go.mod"))?;
    let version = module.lines().find_map(|line| line.trim().strip_prefix(V5));
    Ok((program, version.unwrap_or("of some version").trim().to_owned()))
}
