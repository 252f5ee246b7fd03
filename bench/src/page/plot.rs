//! Plots as inline SVG: lines over two axes, each in steps of its own.
//!
//! Axes are drawn linearly over numbers that were put on a logarithmic scale before where they are meant to be on one, so
//! that ticks are where people expect them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

/// About what a plot has on a page, so that its text is as large as that around it.
const SIZE: (u32, u32) = (460, 270);

/// How far beyond the end of a logarithmic axis a value may lie: a rate of 999 needs no axis from 100 on.
const NEARLY: f64 = 0.01;

/// How an axis maps values, and what is written at its ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Evenly from 0, in whole steps.
    Linear,
    /// Powers of ten.
    Log,
    /// Times in µs, powers of ten.
    LogMicroseconds,
    /// Quantiles, by powers of ten of what lies beyond.
    Percentile,
}

impl Scale {
    /// Where a value lies.
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log | Self::LogMicroseconds => value.max(1e-9).log10(),
            Self::Percentile => -(1.0 - value).max(1e-9).log10(),
        }
    }

    /// Both ends, such that the ends of logarithmic axes are ticks.
    fn range(self, places: impl Iterator<Item = f64>) -> (f64, f64) {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for place in places {
            (low, high) = (low.min(place), high.max(place));
        }
        match self {
            _ if low > high => (0.0, 1.0),
            Self::Linear => (0.0, if high > 0.0 { high * 1.05 } else { 1.0 }),
            Self::Log | Self::LogMicroseconds => {
                let low = (low + NEARLY).floor();
                (low, (high - NEARLY).ceil().max(low + 1.0))
            }
            Self::Percentile => (0.0, high.max(1.0)),
        }
    }

    fn ticks(self, (low, high): (f64, f64)) -> Vec<f64> {
        match self {
            Self::Linear => {
                let step = nice_step((high / 6.0).max(1.0));
                (0..).map(|index| low + f64::from(index) * step).take_while(|&place| place <= high).collect()
            }
            Self::Log | Self::LogMicroseconds => (low as i32..=high as i32).map(f64::from).collect(),
            Self::Percentile => {
                let half = Self::Percentile.place(0.5);
                [half].into_iter().chain((1..=high as i32).map(f64::from)).collect()
            }
        }
    }

    fn label(self, place: f64) -> String {
        match self {
            Self::Linear => format!("{place:.0}"),
            Self::Log => power(place),
            Self::LogMicroseconds if place < 3.0 => format!("{} µs", power(place)),
            Self::LogMicroseconds if place < 6.0 => format!("{} ms", power(place - 3.0)),
            Self::LogMicroseconds => format!("{} s", power(place - 6.0)),
            Self::Percentile => {
                let percent = 100.0 * (1.0 - 10_f64.powf(-place));
                let digits = (place.round() as usize).saturating_sub(2);
                format!("{percent:.digits$} %")
            }
        }
    }
}

/// An axis of a plot: places, ticks at some of them, and what is written there.
struct Axis {
    scale: Scale,
    range: (f64, f64),
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (from, to): (i32, i32)) -> i32 {
        let (low, high) = self.range;
        from + ((place - low) / (high - low) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.scale.ticks(self.range)
    }

    fn range(&self) -> Range<f64> {
        self.range.0..self.range.1
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, place: &f64) -> String {
        self.scale.label(*place)
    }
}

fn power(place: f64) -> String {
    match place.round() as i32 {
        place @ ..0 => format!("{}", 10_f64.powi(place)),
        place @ 0..3 => format!("{}", 10_i64.pow(place as u32)),
        place @ 3..6 => format!("{}k", 10_i64.pow(place as u32 - 3)),
        place => format!("{}M", 10_i64.pow((place as u32).min(20) - 6)),
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn nice_step(least: f64) -> f64 {
    let size = 10_f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * size).find(|&step| step >= least).unwrap_or(size)
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Red, green, blue.
    pub(super) color: (u8, u8, u8),
    pub(super) points: Vec<(f64, f64)>,
    /// Whether its points are marked: they were measured one by one.
    pub(super) has_marks: bool,
}

/// One plot.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    pub(super) x: (Scale, &'static str),
    pub(super) y: (Scale, &'static str),
    pub(super) lines: Vec<Line>,
}

impl Plot {
    /// The plot as an `svg` element.
    pub(super) fn svg(&self) -> String {
        let mut text = String::new();
        // Text cannot fail to be written to.
        self.draw(&mut text).expect("an SVG in memory");
        text
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let (x, y) = (self.x.0, self.y.0);
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x_range = x.range(points().map(|point| x.place(point.0)));
        let y_range = y.range(points().map(|point| y.place(point.1)));
        let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .margin_right(24)
            .x_label_area_size(40)
            .y_label_area_size(62)
            .build_cartesian_2d(Axis { scale: x, range: x_range }, Axis { scale: y, range: y_range })?;
        let ink = RGBColor(71, 85, 105);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(226, 232, 240))
            .axis_style(RGBColor(148, 163, 184))
            .label_style(("sans-serif", 14).into_font().color(&ink))
            .axis_desc_style(("sans-serif", 14).into_font().color(&ink))
            .x_desc(self.x.1)
            .y_desc(self.y.1)
            .draw()?;
        for line in &self.lines {
            let (red, green, blue) = line.color;
            let color = RGBColor(red, green, blue);
            let places: Vec<(f64, f64)> = line.points.iter().map(|&(a, b)| (x.place(a), y.place(b))).collect();
            chart.draw_series(LineSeries::new(places.iter().copied(), color.stroke_width(2)))?;
            if line.has_marks {
                chart.draw_series(places.iter().map(|&place| Circle::new(place, 3, color.filled())))?;
            }
        }
        root.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_where_people_expect_them() {
        let labels = |scale: Scale, range| -> Vec<String> {
            scale.ticks(range).into_iter().map(|tick| scale.label(tick)).collect()
        };
        assert_eq!(labels(Scale::LogMicroseconds, (1.0, 4.0)), ["10 µs", "100 µs", "1 ms", "10 ms"]);
        assert_eq!(labels(Scale::Percentile, (0.0, 3.4)), ["50 %", "90 %", "99 %", "99.9 %"]);
        assert_eq!(labels(Scale::Log, (2.0, 6.0)), ["100", "1k", "10k", "100k", "1M"]);
        assert_eq!(labels(Scale::Linear, (0.0, 10.5)), ["0", "2", "4", "6", "8", "10"]);
    }

    #[test]
    fn a_plot_is_one_svg_whatever_its_points_are() {
        let line = |points: &[(f64, f64)]| Line { color: (1, 2, 3), points: points.to_vec(), has_marks: true };
        for lines in [vec![], vec![line(&[])], vec![line(&[(0.0, 0.0)])], vec![line(&[(0.5, 10.0), (0.999, 2e6)])]] {
            let plot = Plot { x: (Scale::Percentile, "x"), y: (Scale::LogMicroseconds, "y"), lines };
            let svg = plot.svg();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        }
    }
}
