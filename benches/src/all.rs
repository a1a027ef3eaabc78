//! Every word in one run, each in a process of its own, and the page that shows them.

use std::{
    env,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use tower::BoxError;

use crate::{
    machine,
    options::Options,
    report::{Kept, write_page},
    word::{WORDS, Word},
};

/// How long one word may take.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Runs every word; says whether each came to its end and every claim holds.
///
/// # Errors
///
/// When this program cannot be started again, or the page cannot be written.
pub fn run(options: &Options) -> Result<bool, BoxError> {
    println!("{}\n", machine::versions());
    for word in WORDS {
        Kept::forget(word.name);
        run_one(word, options)?;
    }
    page()
}

/// Makes the page of what the words left behind when each was run last; says whether all is well.
///
/// # Errors
///
/// When the page cannot be written.
pub fn page() -> Result<bool, BoxError> {
    let (mut kept, mut missing) = (Vec::new(), Vec::new());
    for word in WORDS {
        match Kept::of(word.name) {
            Some(it) => kept.push(it),
            None => missing.push(word.name),
        }
    }
    let page = write_page(&machine::versions(), &kept)?;
    println!("\n{}", page.display());
    for bar in kept.iter().flat_map(|kept| &kept.bars).filter(|bar| !bar.holds()) {
        println!("{bar}");
    }
    if !missing.is_empty() {
        println!("nothing from {}", missing.join(", "));
    }
    Ok(missing.is_empty() && kept.iter().all(Kept::holds))
}

/// What one word does must not weigh on the next, nor take it along when it fails.
fn run_one(word: &Word, options: &Options) -> Result<(), BoxError> {
    let child = Command::new(env::current_exe()?).arg(word.name).args(options.arguments()).spawn()?;
    match wait(child)? {
        Some(_) => println!(),
        None => println!("{} took longer than {LIMIT:?} and was stopped\n", word.name),
    }
    Ok(())
}

/// Waits for `child`; stops it when it takes too long.
fn wait(mut child: Child) -> Result<Option<ExitStatus>, BoxError> {
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(200));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}
