//! `top` on a terminal: a table that moves.

use std::io;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row, Table};
use tokio::sync::mpsc;

use super::columns::{GAP, fitting, worded};
use crate::command::{Command, Context, Failure, Kind, Measured, Replies, Reply, State};
use crate::show::{COLUMNS, columns, printable};

/// Runs `command`, and shows the figures it gives until it ends or a key says so.
pub(super) async fn live(command: &dyn Command, context: &Context) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::new(Kind::Other, "cannot draw on this terminal").source(error);
    let mut terminal = ratatui::try_init().map_err(cannot)?;
    let mut keys = keys();
    let (replies, mut shown) = Replies::channel();
    let work = command.run(context, &replies);
    tokio::pin!(work);
    let mut view = View::default();
    let done = loop {
        if let Err(error) = terminal.draw(|frame| view.draw(frame)) {
            break Err(cannot(error));
        }
        tokio::select! {
            done = &mut work => break done,
            Some(reply) = shown.recv() => view.take(reply),
            key = keys.recv() => if key.is_none_or(|key| view.press(key)) {
                break Ok(());
            },
        }
    };
    ratatui::restore();
    done
}

/// Keys as they are pressed. A thread of its own waits for them, and ends with its reader.
fn keys() -> mpsc::Receiver<KeyEvent> {
    let (sender, receiver) = mpsc::channel(8);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let pressed = match event::poll(Duration::from_millis(100)) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            match pressed {
                Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                    if sender.blocking_send(key).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

/// What is seen.
#[derive(Default)]
struct View {
    measured: Vec<Measured>,
    rounds: u64,
    sort: usize,
    still: bool,
    first: usize,
}

impl View {
    fn take(&mut self, reply: Reply) {
        if let (Reply::Stats(measured), false) = (reply, self.still) {
            self.measured = measured;
            self.rounds += 1;
        }
    }

    /// Whether it is to end.
    fn press(&mut self, key: KeyEvent) -> bool {
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Char('s') | KeyCode::Right => self.sort = (self.sort + 1) % COLUMNS.len(),
            KeyCode::Left => self.sort = (self.sort + COLUMNS.len() - 1) % COLUMNS.len(),
            KeyCode::Char('p' | ' ') => self.still = !self.still,
            KeyCode::Down => self.first = (self.first + 1).min(self.measured.len().saturating_sub(1)),
            KeyCode::Up => self.first = self.first.saturating_sub(1),
            _ => {}
        }
        false
    }

    /// The rows as they stand, those with most of a figure first.
    fn rows(&self) -> Vec<(State, [String; 12])> {
        let mut rows: Vec<_> =
            self.measured.iter().map(|m| (key(m, self.sort), m.state, columns(m))).collect();
        rows.sort_by(|(one, _, left), (other, _, right)| {
            other
                .total_cmp(one)
                .then_with(|| left[self.sort].cmp(&right[self.sort]))
                .then_with(|| left.cmp(right))
        });
        rows.into_iter().map(|(_, state, columns)| (state, columns)).collect()
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, body, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)])
                .areas(frame.area());
        let serving = self.measured.iter().filter(|m| m.state == State::Serving).count();
        // The sum of nothing is -0.0.
        let rate = self.measured.iter().filter_map(|m| m.requests_per_second).fold(0.0, |sum, one| sum + one);
        let (all, room) = (self.measured.len(), frame.area().width);
        let held = if self.still { "   held still" } else { "" };
        let summary = match self.rounds {
            0 => "asking…".to_owned(),
            _ => worded(
                room,
                format!("{serving} of {all} endpoints serve   {rate:.1} requests/s{held}"),
                format!("{serving}/{all} serve   {rate:.1}/s{held}"),
            ),
        };
        frame.render_widget(Line::from(summary), head);
        let rows = self.rows();
        let shown = fitting(widths(&rows), self.sort, room);
        let names = shown.iter().map(|(at, _)| {
            let style = Style::default().add_modifier(Modifier::BOLD);
            Cell::from(COLUMNS[*at]).style(if *at == self.sort {
                style.add_modifier(Modifier::REVERSED)
            } else {
                style
            })
        });
        let rows = rows.iter().skip(self.first).map(|(state, columns)| {
            let colour = if *state == State::Serving { Color::Reset } else { Color::Red };
            let cells = shown.iter().map(|(at, _)| printable(&columns[*at]));
            Row::new(cells).style(Style::default().fg(colour))
        });
        let widths = shown.iter().map(|(_, width)| Constraint::Length(*width));
        let table = Table::new(rows, widths).header(Row::new(names)).column_spacing(GAP);
        frame.render_widget(table, body);
        let long = "q ends   s sorts by the next column   p holds still   ↑↓ scroll".to_owned();
        let keys = worded(room, long, "q ends   s sorts   p holds   ↑↓ scroll".to_owned());
        frame.render_widget(Line::from(keys), foot);
    }
}

/// How wide each column would be.
fn widths(rows: &[(State, [String; 12])]) -> [u16; COLUMNS.len()] {
    std::array::from_fn(|at| {
        let widest = rows.iter().map(|(_, columns)| columns[at].chars().count()).max().unwrap_or(0);
        u16::try_from(widest.max(COLUMNS[at].len())).unwrap_or(u16::MAX)
    })
}

/// The figure in a column; none for one that holds text.
fn key(m: &Measured, column: usize) -> f64 {
    let whole = |n: Option<u64>| n.map_or(0.0, |n| n as f64);
    match COLUMNS[column] {
        "REQ/S" => m.requests_per_second.unwrap_or(0.0),
        "ERR/S" => m.errors_per_second.unwrap_or(0.0),
        "REQUESTS" => whole(m.requests),
        "ERRORS" => whole(m.errors),
        "LATENCY" => m.latency_ms.unwrap_or(0.0),
        "UPTIME" => whole(m.uptime_seconds),
        "MEMORY" => whole(m.memory_bytes),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn measured(id: &str, rate: f64) -> Measured {
        let mut one = Measured::default();
        (one.service, one.id, one.requests_per_second) = ("greeter".into(), id.into(), Some(rate));
        one.state = State::Serving;
        one
    }

    fn press(view: &mut View, key: char) -> bool {
        view.press(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE))
    }

    #[test]
    fn the_busiest_come_first_when_sorted_by_rate_and_a_held_view_stays() {
        let mut view = View::default();
        view.take(Reply::Stats(vec![measured("a", 1.0), measured("b", 9.5)]));
        let ids =
            |view: &View| view.rows().into_iter().map(|(_, columns)| columns[1].clone()).collect::<String>();
        assert_eq!(ids(&view), "ab");
        (0..5).for_each(|_| assert!(!press(&mut view, 's')));
        assert_eq!(ids(&view), "ba");
        press(&mut view, 'p');
        view.take(Reply::Stats(Vec::new()));
        assert_eq!(ids(&view), "ba");
        assert!(press(&mut view, 'q'));
    }

    #[test]
    fn figures_are_drawn_under_their_names() {
        let mut view = View::default();
        view.take(Reply::Stats(vec![measured("a", 1.0)]));
        let mut terminal = Terminal::new(TestBackend::new(140, 5)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let drawn = terminal.backend().to_string();
        assert!(drawn.contains("1 of 1 endpoints serve   1.0 requests/s"), "{drawn}");
        assert!(drawn.contains("SERVICE  ENDPOINT") && drawn.contains("greeter  a "), "{drawn}");
    }

    #[test]
    fn endpoints_that_keep_no_figures_have_no_requests() {
        let mut view = View::default();
        view.take(Reply::Stats(vec![Measured { requests_per_second: None, ..measured("a", 0.0) }]));
        let mut terminal = Terminal::new(TestBackend::new(140, 5)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let drawn = terminal.backend().to_string();
        assert!(drawn.contains("1 of 1 endpoints serve   0.0 requests/s"), "{drawn}");
    }

    #[test]
    fn a_narrow_terminal_has_fewer_columns_and_all_of_each() {
        let mut view = View::default();
        let mut one = measured("greeter-127.0.0.1-50051", 1.0);
        (one.address, one.latency_ms) = ("127.0.0.1:50051".into(), Some(0.5));
        view.take(Reply::Stats(vec![one]));
        let mut terminal = Terminal::new(TestBackend::new(50, 5)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let drawn = terminal.backend().to_string();
        assert!(drawn.contains("1/1 serve   1.0/s") || drawn.contains("1 of 1 endpoints serve"), "{drawn}");
        assert!(drawn.contains("greeter-127.0.0.1-50051  serving  1.0"), "{drawn}");
        assert!(drawn.contains("q ends   s sorts   p holds   ↑↓ scroll"), "{drawn}");
    }
}
