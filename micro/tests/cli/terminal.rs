//! A terminal that the program runs on.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

/// How long the program may take to write what is waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// What somebody at a terminal does.
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    screen: Receiver<u8>,
}

impl Terminal {
    pub(crate) fn start(command: &mut Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = || Stdio::from(ioctl_tiocgptpeer(&ours, flags).unwrap());
        let child = command.stdin(theirs()).stdout(theirs()).stderr(theirs()).spawn().unwrap();
        // Theirs is closed here, so that reading ours ends with the program.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let keys = File::from(ours);
        let (sender, screen) = channel();
        let read = keys.try_clone().unwrap();
        std::thread::spawn(move || {
            for byte in BufReader::new(read).bytes().map_while(Result::ok) {
                sender.send(byte).ok();
            }
        });
        Self { child, keys, screen }
    }

    /// Waits until `text` is written, which then counts as read. Everything up to its end.
    pub(crate) fn until(&self, text: &str) -> String {
        let mut seen = Vec::new();
        while !seen.ends_with(text.as_bytes()) {
            match self.screen.recv_timeout(WITHIN) {
                Ok(byte) => seen.push(byte),
                Err(error) => {
                    panic!("{text:?} was not written, {error}: {:?}", String::from_utf8_lossy(&seen))
                }
            }
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end, and gives the exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
