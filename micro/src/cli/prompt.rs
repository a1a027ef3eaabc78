//! Lines for the shell: edited and remembered where somebody types them, read as they come from elsewhere.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use rustyline::config::Configurer as _;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Editor};
use tokio::sync::mpsc;

use super::history;
use super::tab::Tab;

/// Lines as they are typed; the next is asked for when the last is said to be done with. A thread of its own reads,
/// for that cannot be broken off. `tab` says how a line may go on.
pub(super) fn lines(tab: Tab) -> (mpsc::Receiver<String>, mpsc::Sender<()>) {
    let (sender, receiver) = mpsc::channel(1);
    let (done, mut told) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut next = reader(tab);
        while let Some(line) = next() {
            if sender.blocking_send(line).is_err() || told.blocking_recv().is_none() {
                return;
            }
        }
    });
    (receiver, done)
}

/// What reads a line, and gives none at the end.
fn reader(tab: Tab) -> Box<dyn FnMut() -> Option<String>> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        match Terminal::open(tab) {
            Ok(mut terminal) => return Box::new(move || terminal.line()),
            Err(error) => tracing::warn!(%error, "this terminal cannot be edited on"),
        }
    }
    let mut lines = io::stdin().lock().lines();
    Box::new(move || lines.next()?.ok())
}

/// A terminal, and where what is typed there is kept.
struct Terminal {
    editor: Editor<Tab, FileHistory>,
    file: Option<PathBuf>,
}

impl Terminal {
    fn open(tab: Tab) -> rustyline::Result<Self> {
        let config = history::config();
        let kept = FileHistory::with_config(&config);
        let mut editor = Editor::with_history(config, kept)?;
        editor.set_completion_type(CompletionType::List);
        editor.set_helper(Some(tab));
        let dir = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let said = std::env::var("MICRO_HISTORY").ok();
        let mut file = history::file(said.as_deref(), dir("XDG_STATE_HOME"), dir("HOME"));
        if let Some(path) = &file
            && let Err(error) =
                history::make(path).map_err(Into::into).and_then(|()| editor.load_history(path))
        {
            tracing::warn!(%error, path = %path.display(), "no history is kept: MICRO_HISTORY names another file");
            file = None;
        }
        Ok(Self { editor, file })
    }

    /// The next line. Ctrl-C begins it anew, Ctrl-D ends them all.
    fn line(&mut self) -> Option<String> {
        loop {
            match self.editor.readline("micro> ") {
                Ok(line) => {
                    self.keep(&line);
                    return Some(line);
                }
                Err(ReadlineError::Interrupted) => {}
                Err(_) => return None,
            }
        }
    }

    fn keep(&mut self, line: &str) {
        if let Err(error) = history::keep(self.editor.history_mut(), line, self.file.as_deref()) {
            tracing::warn!(%error, "no history is kept any more");
            self.file = None;
        }
    }
}
