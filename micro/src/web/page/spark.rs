//! Small charts of the last two minutes.

use maud::{Markup, html};

const WIDTH: f32 = 120.0;
const HEIGHT: f32 = 24.0;

/// One line of `values`; a second one of `fails`, if there are any, in the colour of trouble.
pub(super) fn spark(label: &str, values: &[f32], fails: &[f32]) -> Markup {
    let most = values.iter().chain(fails).copied().fold(0.0, f32::max).max(f32::MIN_POSITIVE);
    html! {
        svg .spark viewBox={ "0 -1 " (WIDTH) " " (HEIGHT + 2.0) } preserveAspectRatio="none" role="img" aria-label=(label) {
            polyline points=(points(values, most)) {}
            @if fails.iter().any(|fail| *fail > 0.0) { polyline .fails points=(points(fails, most)) {} }
        }
    }
}

fn points(values: &[f32], most: f32) -> String {
    let step = WIDTH / values.len().saturating_sub(1).max(1) as f32;
    let point = |(index, value): (usize, &f32)| {
        format!("{:.1},{:.1}", index as f32 * step, HEIGHT - value / most * HEIGHT)
    };
    values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}
