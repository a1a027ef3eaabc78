//! What can go wrong with files: writers that are killed, garbage, a directory that is removed, a full disk.
#![cfg(all(feature = "file", unix))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use micro_discover::{Announce, Endpoint, File, Registry, Service, Watch, open};
use rustix::process::{Resource, getrlimit, setrlimit};

#[path = "support/log.rs"]
mod log;

fn greeter(id: &str) -> Service {
    Service::new("greeter").endpoint(Endpoint::new(id, "h:1".parse().unwrap()))
}

fn ids(set: &[Service]) -> Vec<&str> {
    set.iter().flat_map(|service| &service.endpoints).map(|endpoint| endpoint.id.as_str()).collect()
}

async fn next(watch: &mut Watch) -> Vec<Service> {
    tokio::time::timeout(Duration::from_secs(60), watch.next()).await.expect("in time").expect("without end")
}

async fn reaches(watch: &mut Watch, wanted: &[&str]) {
    while ids(&next(watch).await) != wanted {}
}

/// Waits, with a bound that only a failure reaches.
async fn until(mut fact: impl FnMut() -> bool) {
    let started = Instant::now();
    while !fact() {
        assert!(started.elapsed() < Duration::from_secs(60), "in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn records(dir: &Path) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|file| file.extension().is_some_and(|end| end == "json")).collect()
}

/// Removes `dir` though others may put files into it meanwhile, and make it again at once.
fn remove(dir: &Path) {
    let gone = dir.with_extension("gone");
    fs::rename(dir, &gone).unwrap();
    while fs::remove_dir_all(&gone).is_err() {}
}

/// Runs the test `name` of this program as a process of its own, which is killed with the guard.
struct Process(Child);

impl Process {
    fn start(name: &str, dir: &Path, id: &str) -> Self {
        // A process that ignores SIGXFSZ gets an error when its file grows too large, as on a full disk.
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" --exact --ignored --nocapture --test-threads 1 \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(name)
            .env("DISCOVER_TEST_DIR", dir)
            .env("DISCOVER_TEST_ID", id)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn told() -> (File, String) {
    let dir = std::env::var_os("DISCOVER_TEST_DIR").expect("the parent sets it");
    (File::new(dir), std::env::var("DISCOVER_TEST_ID").expect("the parent sets it"))
}

#[tokio::test]
#[ignore = "a process of the tests below"]
async fn process_that_writes_without_pause() {
    let (file, id) = told();
    for weight in 0.. {
        let record = Service::new("greeter")
            .metadata("padding", "x".repeat(100_000))
            .endpoint(Endpoint::new(&id, "h:1".parse().unwrap()).weight(weight % 60_000));
        file.announce(&record, Duration::from_secs(2)).await.unwrap();
    }
}

#[tokio::test]
async fn a_writer_killed_in_the_middle_of_writing_expires_and_harms_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let file = File::new(temp.path().join("r"));
    let mut watch = Watch::new(Arc::new(file.clone()), "greeter");
    let _other = Announce::new(Arc::new(file.clone()), greeter("other")).start().await.unwrap();
    for round in 0..10 {
        let (one, two) = (format!("one{round}"), format!("two{round}"));
        let writers =
            [&one, &two].map(|id| Process::start("process_that_writes_without_pause", file.dir(), id));
        loop {
            let set = next(&mut watch).await;
            let seen = ids(&set);
            assert!(seen.contains(&"other"), "{seen:?}");
            if seen.contains(&one.as_str()) && seen.contains(&two.as_str()) {
                break;
            }
        }
        writers.into_iter().for_each(Process::kill);
        assert!(ids(&file.get("greeter").await.unwrap()).contains(&"other"));
    }
    reaches(&mut watch, &["other"]).await;
    until(|| records(file.dir()).len() == 1).await;
}

#[tokio::test]
async fn a_removed_directory_is_made_again_and_no_watcher_loses_anybody() {
    let temp = tempfile::tempdir().unwrap();
    let file = File::new(temp.path().join("deep/er/registry"));
    let mut watch = Watch::new(Arc::new(file.clone()), "greeter");
    let start = |id| Announce::new(Arc::new(file.clone()), greeter(id)).ttl(Duration::from_secs(6)).start();
    let (_a, _b) = (start("a").await.unwrap(), start("b").await.unwrap());
    reaches(&mut watch, &["a", "b"]).await;

    for _ in 0..2 {
        remove(&temp.path().join("deep"));
        until(|| records(file.dir()).len() == 2).await;
    }
    // Had anybody been lost on the way, that set would come first.
    let _c = start("c").await.unwrap();
    assert_eq!(ids(&next(&mut watch).await), ["a", "b", "c"]);
}

#[tokio::test]
async fn changes_arrive_by_notification_also_after_the_directory_was_removed() {
    let temp = tempfile::tempdir().unwrap();
    let file = File::new(temp.path().join("r"));
    // Another instance, so nothing is handed over inside the process.
    let writer = File::new(file.dir());
    let mut watch = Watch::new(Arc::new(file.clone()), "greeter");
    assert_eq!(next(&mut watch).await, []);
    for happened in ["nothing", "moved away", "removed"] {
        match happened {
            "moved away" => remove(file.dir()),
            "removed" => fs::remove_dir_all(file.dir()).unwrap(),
            _ => {}
        }
        until(|| file.dir().is_dir()).await;
        let mut took = Vec::new();
        for weight in 1..=20 {
            let record =
                Service::new("greeter").endpoint(Endpoint::new("a", "h:1".parse().unwrap()).weight(weight));
            let started = Instant::now();
            writer.announce(&record, Duration::from_secs(60)).await.unwrap();
            while next(&mut watch).await != [record.clone()] {}
            took.push(started.elapsed());
        }
        took.sort();
        println!("announced until seen, {happened}: median {:?}, longest {:?}", took[10], took[19]);
        // By the rescan alone each of them would wait for the rest of a second.
        assert!(took[10] < Duration::from_millis(500), "{took:?}");
    }
}

#[tokio::test]
async fn what_is_no_record_is_ignored_and_mentioned_once() {
    log::keep();
    let temp = tempfile::tempdir().unwrap();
    let file = File::new(temp.path().join("r"));
    let mut watch = Watch::new(Arc::new(file.clone()), "greeter");
    let announcement = Announce::new(Arc::new(file.clone()), greeter("a")).start().await.unwrap();
    reaches(&mut watch, &["a"]).await;

    let dir = file.dir();
    let good = fs::read(&records(dir)[0]).unwrap();
    let put = |name: &str, content: &[u8]| {
        let elsewhere = temp.path().join(name);
        fs::write(&elsewhere, content).unwrap();
        fs::rename(elsewhere, dir.join(name)).unwrap();
    };
    put("half.json", &good[..good.len() / 2]);
    put("copy.json", &good);
    put("empty.json", b"");
    put("binary.json", &[0xff; 4096]);
    put("huge.json", &vec![b' '; 3 << 20]);
    put("README", b"not a record");
    fs::create_dir(dir.join("directory.json")).unwrap();
    std::os::unix::fs::symlink("loop.json", dir.join("loop.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.join("zero.json")).unwrap();
    assert!(Command::new("mkfifo").arg(dir.join("pipe.json")).status().unwrap().success());

    let _b = Announce::new(Arc::new(file.clone()), greeter("b")).start().await.unwrap();
    assert_eq!(ids(&next(&mut watch).await), ["a", "b"]);
    for _ in 0..5 {
        assert_eq!(ids(&file.get("greeter").await.unwrap()), ["a", "b"]);
    }
    announcement.withdraw().await.unwrap();
    assert_eq!(ids(&next(&mut watch).await), ["b"]);

    let log = log::text();
    for (name, why) in [
        ("half.json", "EOF"),
        ("copy.json", "its name is not that of its content"),
        ("empty.json", "EOF"),
        ("binary.json", "expected value"),
        ("huge.json", "more than 1048576 bytes"),
    ] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&format!("file=\"{name}\""))).collect();
        assert!(lines.len() == 1 && lines[0].contains(why), "{name}: {lines:?}");
    }
    assert!(!log.contains("directory.json") && !log.contains("zero.json") && !log.contains("pipe.json"));
}

#[tokio::test]
async fn a_record_that_garbage_replaces_stands_until_its_announcer_renews_it() {
    let temp = tempfile::tempdir().unwrap();
    let file = File::new(temp.path());
    let mut watch = Watch::new(Arc::new(file.clone()), "greeter");
    let start = |id| Announce::new(Arc::new(file.clone()), greeter(id)).ttl(Duration::from_secs(6)).start();
    let _a = start("a").await.unwrap();
    reaches(&mut watch, &["a"]).await;
    let record = records(file.dir()).remove(0);
    fs::write(&record, "{").unwrap();
    until(|| fs::read(&record).unwrap().len() > 1).await;
    let _b = start("b").await.unwrap();
    assert_eq!(ids(&next(&mut watch).await), ["a", "b"]);
}

#[tokio::test]
#[ignore = "a process of the test below"]
async fn process_on_a_full_disk() {
    let (file, id) = told();
    let limit = getrlimit(Resource::Fsize);
    let announcement = Announce::new(Arc::new(file.clone()), greeter(&id)).start().await.unwrap();

    setrlimit(Resource::Fsize, rustix::process::Rlimit { current: Some(0), ..limit }).unwrap();
    let error = file.announce(&greeter("late"), Duration::ZERO).await.unwrap_err();
    assert!(error.is_retryable());
    let cause = std::error::Error::source(&error).unwrap().to_string();
    let message = error.to_string();
    assert!(message.starts_with("the file registry cannot write to /"), "{message}");
    assert!(cause.contains("File too large"), "{cause}");
    assert_eq!(files(file.dir()).len(), 1, "nothing half done stays");
    assert_eq!(ids(&file.get("greeter").await.unwrap()), [id.as_str()], "the old record still does");
    let late = Announce::new(Arc::new(file.clone()), greeter("late")).start().await.unwrap();
    assert!(!late.is_announced());

    setrlimit(Resource::Fsize, limit).unwrap();
    late.announced().await;
    announcement.withdraw().await.unwrap();
    fs::write(file.dir().join("proven"), "").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_full_disk_is_a_clear_error_and_over_when_there_is_room() {
    let temp = tempfile::tempdir().unwrap();
    let file = File::new(temp.path());
    let _process = Process::start("process_on_a_full_disk", file.dir(), "early");
    until(|| temp.path().join("proven").exists()).await;
    assert_eq!(ids(&file.get("greeter").await.unwrap()), ["late"]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_a_clear_error_and_keeps_the_last_set() {
    let temp = tempfile::tempdir().unwrap();
    let blocked = temp.path().join("blocked");
    let dir = blocked.join("registry");
    let registry = open(&format!("file:{}", dir.display())).unwrap();
    registry.announce(&greeter("a"), Duration::from_secs(60)).await.unwrap();
    let mut watch = Watch::new(registry.clone(), "greeter");
    let status = watch.status();
    reaches(&mut watch, &["a"]).await;

    // The watcher makes the directory again as soon as it is gone: one of the two is first.
    while fs::write(&blocked, "a file where a directory should be").is_err() {
        remove(&blocked);
    }
    let error = registry.announce(&greeter("a"), Duration::from_secs(60)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("write to {}", dir.display())) && error.is_retryable());
    let stale = async {
        while status.stale_since().is_none() && status.last_error().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        set = watch.next() => panic!("{set:?} while the directory is gone"),
        () = stale => {}
    }

    fs::remove_file(&blocked).unwrap();
    registry.announce(&greeter("b"), Duration::from_secs(60)).await.unwrap();
    assert_eq!(ids(&next(&mut watch).await), ["a", "b"]);
    assert_eq!(status.stale_since(), None);
}
