//! Points in time as people write them, and as they read them: RFC 3339 in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: i64 = 86_400_000;

/// The days from 1970-01-01 to a date of the Gregorian calendar.
///
/// Years are counted from March on, so that a leap day is the last day of its year: a year then has the days of its
/// months in a fixed order, `(153 * month + 2) / 5` of them before a month.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_before_year = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days_before_year + (153 * month + 2) / 5 + day - 1 - DAYS_BEFORE_1970
}

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: i64 = 719_468;

/// Days of 400 years, after which the calendar repeats.
const DAYS_OF_400_YEARS: i64 = 146_097;

/// The date so many days after 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_BEFORE_1970;
    let cycle = days.div_euclid(DAYS_OF_400_YEARS);
    let in_cycle = days.rem_euclid(DAYS_OF_400_YEARS);
    let year_of_cycle = (in_cycle - in_cycle / 1460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let in_year = in_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let year = cycle * 400 + year_of_cycle;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// Writes a time in ms since 1970 as `2026-11-21T13:00:00.000Z`; -1, which means none, as `-`.
pub(super) fn format(timestamp: i64) -> String {
    if timestamp == -1 {
        return "-".to_owned();
    }
    let (year, month, day) = date_of(timestamp.div_euclid(DAY_MS));
    let ms = timestamp.rem_euclid(DAY_MS);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// The time now, in ms since 1970.
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Writes a length of time as people say it, with its two largest units: `350 ms`, `3.2 s`, `2 m 5 s`, `4 h 3 m`, `9 d`.
pub(super) fn span(ms: i64) -> String {
    let seconds = ms / 1000;
    let two = |large: i64, large_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match ms {
        ..=0 => "0".to_owned(),
        1..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{seconds}.{} s", ms % 1000 / 100),
        60_000..3_600_000 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600_000..DAY_MS => two(seconds / 3600, "h", seconds / 60 % 60, "m"),
        DAY_MS.. => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// Reads a length of time, in ms: `90s`, `15m`, `2h`, `7d`, or as ISO 8601 has it, from days down: `P1DT2H30M`.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let fail = || "expected a time like 90s, 15m, 2h, 7d, or PT2H30M".to_owned();
    let unit = |letter| match letter {
        's' => Some(1000),
        'm' => Some(60_000),
        'h' => Some(3_600_000),
        'd' => Some(DAY_MS),
        _ => None,
    };
    let lower = text.to_ascii_lowercase();
    let Some(iso) = lower.strip_prefix('p') else {
        let (at, last) = lower.char_indices().last().ok_or_else(fail)?;
        let number: u32 = lower[..at].parse().map_err(|_| fail())?;
        return Ok(i64::from(number) * unit(last).ok_or_else(fail)?);
    };
    let (days, clock) = iso.split_once('t').map_or((iso, None), |(days, clock)| (days, Some(clock)));
    let mut total = 0;
    let mut read = |part: &str, letters: &str| -> Result<(), String> {
        let mut rest = part;
        let mut left = letters;
        while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic()) {
            let letter = rest[at..].chars().next().unwrap_or_default();
            let place = left.find(letter).ok_or_else(fail)?;
            left = &left[place + 1..];
            let number: u32 = rest[..at].parse().map_err(|_| fail())?;
            total += i64::from(number) * unit(letter).ok_or_else(fail)?;
            rest = &rest[at + 1..];
        }
        if rest.is_empty() && !part.is_empty() { Ok(()) } else { Err(fail()) }
    };
    if !days.is_empty() || clock.is_none() {
        read(days, "d")?;
    }
    if let Some(clock) = clock {
        read(clock, "hms")?;
    }
    Ok(total)
}

/// Reads a point in time, in ms since 1970: such a number; `2026-11-21`, with `T13:00`, seconds, fraction, and `Z` or an
/// offset (UTC without one); or a time before `now`: `90s`, `15m`, `2h`, `7d`.
pub(super) fn parse(text: &str, now: i64) -> Result<i64, String> {
    const FORMS: &str = "expected ms since 1970, 2026-11-21T13:00:00Z, or a time ago like 90s, 15m, 2h, 7d";
    let fail = || FORMS.to_owned();
    if let Ok(number) = text.parse::<i64>() {
        return if number < 0 { Err(fail()) } else { Ok(number) };
    }
    let unit = |unit| match unit {
        's' => Some(1000),
        'm' => Some(60_000),
        'h' => Some(3_600_000),
        'd' => Some(DAY_MS),
        _ => None,
    };
    if let Some((last, unit)) = text.char_indices().last().and_then(|(at, c)| Some((at, unit(c)?)))
        && let Ok(number) = text[..last].parse::<u32>()
    {
        return Ok(now - i64::from(number) * unit);
    }
    calendar(text).ok_or_else(fail)
}

fn calendar(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' ']).map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let days = days_of(year, month, day);
    if parts.next().is_some() || date_of(days) != (year, month, day) {
        return None;
    }
    let ms = time.map_or(Some(0), clock)?;
    Some(days * DAY_MS + ms)
}

/// `13:00[:00[.000]]` with `Z` or an offset, in ms since midnight UTC.
fn clock(text: &str) -> Option<i64> {
    let (local, offset) = if let Some(local) = text.strip_suffix(['Z', 'z']) {
        (local, 0)
    } else if let Some(at) = text.find(['+', '-']) {
        let (hours, minutes) = text[at + 1..].split_once(':')?;
        let minutes = digits(hours, 2)? * 60 + digits(minutes, 2)?;
        (&text[..at], if text[at..].starts_with('-') { -minutes } else { minutes })
    } else {
        (text, 0)
    };
    let mut parts = local.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let (second, fraction) = match parts.next() {
        None => (0, 0),
        Some(seconds) => match seconds.split_once('.') {
            None => (digits(seconds, 2)?, 0),
            Some((seconds, fraction)) => {
                let three: String = fraction.chars().chain("00".chars()).take(3).collect();
                (digits(seconds, 2)?, digits(&three, 3)?)
            }
        },
    };
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(((hour * 60 + minute - offset) * 60 + second) * 1000 + fraction)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let valid = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_times_are_written_and_read() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1000, "1969-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(format(ms), text);
            assert_eq!(parse(text, 0), Ok(ms));
        }
        assert_eq!(format(-1), "-");
    }

    #[test]
    fn every_day_of_two_centuries_is_read_back() {
        for day in -36_524..36_525 {
            let (year, month, of_month) = date_of(day);
            assert_eq!(days_of(year, month, of_month), day);
        }
    }

    #[test]
    fn people_may_be_brief() {
        let noon = 1_795_262_400_000;
        assert_eq!(format(noon), "2026-11-21T12:00:00.000Z");
        for text in ["2026-11-21T12:00Z", "2026-11-21 12:00", "2026-11-21T14:30:00+02:30", "1795262400000"] {
            assert_eq!(parse(text, 0), Ok(noon), "{text}");
        }
        assert_eq!(parse("2026-11-21", 0), Ok(noon - DAY_MS / 2));
        assert_eq!(parse("2026-11-21T12:00:00.5Z", 0), Ok(noon + 500));
        assert_eq!(parse("90s", noon), Ok(noon - 90_000));
        assert_eq!(parse("7d", noon), Ok(noon - 7 * DAY_MS));
    }

    #[test]
    fn lengths_of_time_are_written_with_their_largest_units() {
        for (ms, text) in [
            (0, "0"),
            (999, "999 ms"),
            (3_250, "3.2 s"),
            (60_000, "1 m"),
            (125_000, "2 m 5 s"),
            (14_580_000, "4 h 3 m"),
            (9 * DAY_MS, "9 d"),
            (DAY_MS + 7_200_000, "1 d 2 h"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn lengths_of_time_are_read_as_people_and_as_iso_8601_write_them() {
        for (text, ms) in [
            ("90s", 90_000),
            ("15M", 900_000),
            ("7d", 7 * DAY_MS),
            ("PT2H30M", 9_000_000),
            ("P1D", DAY_MS),
            ("p1dt1s", DAY_MS + 1000),
            ("P0DT0S", 0),
        ] {
            assert_eq!(duration(text), Ok(ms), "{text}");
        }
        for text in ["", "5", "h", "P", "PT", "P1DT", "P1H", "PT1D", "PT1M1H", "P1W", "-5s", "1.5h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "yesterday", "-5", "2026-02-29", "2026-13-01", "2026-11-21T25:00", "2026-11-21Tnoon", "m", "5w"]
        {
            assert!(parse(text, 0).is_err(), "{text}");
        }
    }
}
