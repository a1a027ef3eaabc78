//! What is seen of a run: a live table, or lines.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write, stdout},
    sync::Arc,
    time::Duration,
};

use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, interval},
};

use crate::load::Load;

/// Shows how the run goes.
#[derive(Debug)]
pub(crate) struct Report {
    steps: mpsc::UnboundedSender<String>,
    task: JoinHandle<()>,
}

struct Screen {
    load: Load,
    plain: bool,
    began: Instant,
    steps: Vec<String>,
    picks: HashMap<Arc<str>, u64>,
    lines: usize,
}

impl Report {
    /// Starts to show `load`; in lines if `plain`, or if nobody sits at a terminal.
    pub(crate) fn start(load: Load, plain: bool) -> Self {
        let (sender, mut steps) = mpsc::unbounded_channel::<String>();
        let plain = plain || !stdout().is_terminal();
        let (began, picks) = (Instant::now(), HashMap::new());
        let mut screen = Screen { load, plain, began, steps: Vec::new(), picks, lines: 0 };
        let task = tokio::spawn(async move {
            let mut ticks = interval(if plain { Duration::from_secs(1) } else { Duration::from_millis(500) });
            loop {
                tokio::select! {
                    step = steps.recv() => match step {
                        Some(step) => screen.step(&step),
                        None => break,
                    },
                    _ = ticks.tick() => {}
                }
                screen.draw();
            }
        });
        Self { steps: sender, task }
    }

    /// Tells what happens next.
    pub(crate) fn say(&self, step: &str) {
        // The task ends only when this sender does.
        let _ = self.steps.send(step.to_owned());
    }

    /// Shows the last state and ends.
    pub(crate) async fn stop(self) {
        drop(self.steps);
        let _ = self.task.await;
    }
}

impl Screen {
    fn step(&mut self, step: &str) {
        let step = format!("{:>5.1} s  {step}", self.began.elapsed().as_secs_f64());
        if self.plain {
            println!("{step}");
        }
        self.steps.push(step);
    }

    fn draw(&mut self) {
        let rows = self.rows();
        let (calls, failed, error) = self.load.so_far();
        let mut out = stdout().lock();
        // A terminal that went away is no reason to stop.
        let _ = if self.plain {
            let rows = rows.iter().map(|row| row.join(" ")).collect::<Vec<_>>().join(" | ");
            let second = self.began.elapsed().as_secs_f64();
            writeln!(out, "{second:>5.1} s  calls={calls} failed={failed} | {rows}")
        } else {
            let mut table = Table::new();
            table.load_style(UTF8_HORIZONTAL_ONLY);
            table.set_header(["endpoint", "state", "share", "in flight", "p50 ms", "p99 ms", "errors"]);
            table.add_rows(rows);
            for column in 2..7 {
                if let Some(column) = table.column_mut(column) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
            let error = error.map(|error| format!("last error: {error}\n")).unwrap_or_default();
            let text =
                format!("{}\n\n{table}\ncalls {calls}  failed {failed}\n{error}", self.steps.join("\n"));
            let back = std::mem::replace(&mut self.lines, text.lines().count());
            let back = if back > 0 { format!("\x1b[{back}A\x1b[J") } else { String::new() };
            writeln!(out, "{back}{}", text.trim_end()).and_then(|()| out.flush())
        };
    }

    /// A row for each endpoint: share and latencies are those since the last row.
    fn rows(&mut self) -> Vec<[String; 7]> {
        let views = self.load.endpoints();
        let picks: HashMap<_, _> = views.iter().map(|view| (view.id.clone(), view.picks)).collect();
        let new = |id: &Arc<str>| picks[id].saturating_sub(self.picks.get(id).copied().unwrap_or(0));
        let total: u64 = views.iter().map(|view| new(&view.id)).sum::<u64>().max(1);
        let rows = views
            .iter()
            .map(|view| {
                let latency = self.load.take_latency(&view.id);
                let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.2}"));
                [
                    view.id.to_string(),
                    format!("{:?}", view.state).to_lowercase(),
                    format!("{:.1}%", new(&view.id) as f64 * 100.0 / total as f64),
                    view.in_flight.to_string(),
                    ms(latency.map(|(p50, _)| p50)),
                    ms(latency.map(|(_, p99)| p99)),
                    view.failures.to_string(),
                ]
            })
            .collect();
        self.picks = picks;
        rows
    }
}
