//! Which columns of `top` a terminal has room for.

use crate::show::COLUMNS;

/// Between two columns.
pub(super) const GAP: u16 = 2;
/// Those that go where there is no room, the one that is missed least first.
const GO: [&str; 9] =
    ["MEMORY", "UPTIME", "VERSION", "ADDRESS", "ERRORS", "REQUESTS", "SERVICE", "ERR/S", "LATENCY"];
/// An id is cut where there is no room for all of it, but not below this.
const SHORTEST: u16 = 8;
/// The column of ids.
const ENDPOINT: usize = 1;

/// The columns that fit into `room`, in their order, and how wide each is. `wanted` says how wide they would be; the one at
/// `sort`, by which rows are sorted, always stays.
pub(super) fn fitting(wanted: [u16; COLUMNS.len()], sort: usize, room: u16) -> Vec<(usize, u16)> {
    let mut shown: Vec<_> = wanted.into_iter().enumerate().collect();
    for name in GO {
        if width(&shown) <= room {
            break;
        }
        shown.retain(|(at, _)| COLUMNS[*at] != name || *at == sort);
    }
    let over = width(&shown).saturating_sub(room);
    for (at, width) in &mut shown {
        if *at == ENDPOINT {
            *width = (*width).min(SHORTEST.max(width.saturating_sub(over)));
        }
    }
    shown
}

fn width(shown: &[(usize, u16)]) -> u16 {
    let gaps = u16::try_from(shown.len().saturating_sub(1)).unwrap_or(u16::MAX).saturating_mul(GAP);
    shown.iter().fold(gaps, |sum, (_, width)| sum.saturating_add(*width))
}

/// `long` where there is room for it, `short` elsewhere.
pub(super) fn worded(room: u16, long: String, short: String) -> String {
    if long.chars().count() <= usize::from(room) { long } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(wanted: [u16; COLUMNS.len()], sort: &str, room: u16) -> Vec<&'static str> {
        let sort = COLUMNS.iter().position(|name| *name == sort).unwrap();
        fitting(wanted, sort, room).into_iter().map(|(at, _)| COLUMNS[at]).collect()
    }

    #[test]
    fn columns_go_one_by_one_and_the_one_that_sorts_stays() {
        assert_eq!(names([10; 12], "SERVICE", 142), COLUMNS);
        assert_eq!(names([10; 12], "SERVICE", 141), COLUMNS[..11]);
        assert_eq!(names([10; 12], "SERVICE", 50), ["SERVICE", "ENDPOINT", "STATE", "REQ/S"]);
        assert_eq!(names([10; 12], "MEMORY", 50), ["ENDPOINT", "STATE", "REQ/S", "MEMORY"]);
        assert_eq!(names([10; 12], "ENDPOINT", 1), ["ENDPOINT", "STATE", "REQ/S"]);
    }

    #[test]
    fn an_id_is_cut_to_what_is_left() {
        let mut wanted = [7; COLUMNS.len()];
        wanted[ENDPOINT] = 60;
        let shown = fitting(wanted, 5, 50);
        assert_eq!(shown, [(1, 32), (4, 7), (5, 7)]);
        assert!(fitting(wanted, 5, 20).contains(&(ENDPOINT, SHORTEST)));
    }
}
