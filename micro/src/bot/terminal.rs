//! The terminal as an input: to try the bot without a chat.

use std::fmt;
use std::sync::Mutex;

use futures_core::future::BoxFuture;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tower::BoxError;

use super::heard::{Heard, Input, Speaker};

/// Reads a message a line, and writes the answers. Its end is the bot's.
pub struct Terminal {
    user: String,
    ends: Mutex<Option<Ends>>,
}

type Ends = (Box<dyn AsyncBufRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>);

impl Terminal {
    /// Standard input and output, as the user called `user`: `terminal:USER` in [`Rights`](super::Rights).
    pub fn new(user: impl Into<String>) -> Self {
        Self::over(user, tokio::io::BufReader::new(tokio::io::stdin()), tokio::io::stdout())
    }

    /// Any other two ends.
    pub fn over(
        user: impl Into<String>,
        input: impl AsyncBufRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self { user: user.into(), ends: Mutex::new(Some((Box::new(input), Box::new(output)))) }
    }

    async fn read(&self, heard: mpsc::Sender<Heard>) -> Result<(), BoxError> {
        let ends = self.ends.lock().map_err(|_| "the terminal is in use")?.take();
        let Some((input, mut output)) = ends else { return Ok(()) };
        let mut lines = input.lines();
        let mut count = 0_u64;
        while let Some(line) = lines.next_line().await? {
            if line.trim().is_empty() {
                continue;
            }
            count += 1;
            let speaker = Speaker::new("terminal", &*self.user, None);
            let (message, mut answers) = Heard::new(count.to_string(), speaker, line);
            if heard.send(message).await.is_err() {
                break;
            }
            while let Some(answer) = answers.recv().await {
                let text = answer.whole.unwrap_or(answer.text);
                output.write_all(format!("{}\n", text.trim_end()).as_bytes()).await?;
                output.flush().await?;
            }
        }
        Ok(())
    }
}

impl Input for Terminal {
    fn name(&self) -> &'static str {
        "terminal"
    }

    fn run(&self, heard: mpsc::Sender<Heard>) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(self.read(heard))
    }

    fn ends_bot(&self) -> bool {
        true
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("user", &self.user).finish_non_exhaustive()
    }
}
