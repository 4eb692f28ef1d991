//! Sizes and spans of time as people write them.

use std::time::Duration;
use yroom::Rate;

/// So much a second, and so much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    per_second: u64,
    burst: u64,
}

impl Flow {
    pub(crate) const fn rate(self) -> Rate {
        Rate { per_second: self.per_second, burst: self.burst }
    }
}

/// A number a second, and after a colon how many at once: five seconds' worth if that is not said.
pub(crate) fn flow(text: &str) -> Result<Flow, String> {
    flow_of(text, |number| number.parse().map_err(|_| "no whole number".to_owned()))
}

/// The same with sizes.
pub(crate) fn size_flow(text: &str) -> Result<Flow, String> {
    flow_of(text, |size| bytes(size).map(|size| size as u64))
}

fn flow_of(text: &str, read: impl Fn(&str) -> Result<u64, String>) -> Result<Flow, String> {
    let (per_second, burst) = if let Some((per_second, burst)) = text.split_once(':') {
        (read(per_second)?, read(burst)?)
    } else {
        let per_second = read(text)?;
        (per_second, per_second.saturating_mul(5))
    };
    if per_second == 0 || burst < per_second {
        return Err("at least one a second, and not less at once".to_owned());
    }
    Ok(Flow { per_second, burst })
}

/// A span: a number of seconds, or of what `s`, `m`, `h` or `d` behind it says.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        // A hundred years.
        seconds @ 1..=3_155_760_000 => Ok(Duration::from_secs(seconds)),
        _ => Err("from a second to a hundred years".to_owned()),
    }
}

/// The same in seconds; none at all is one, too.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let with_unit =
        UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let (number, unit) = with_unit.unwrap_or((text, 1));
    let wanted =
        || "a number of seconds is wanted, or one with a unit: 90, 90s, 15m, 1h, 7d".to_owned();
    let number: u64 = number.parse().map_err(|_| wanted())?;
    number.checked_mul(unit).ok_or_else(|| "more than there is time".to_owned())
}

/// The same, or a number of milliseconds: `200ms`.
pub(crate) fn pause(text: &str) -> Result<Duration, String> {
    let Some(number) = text.strip_suffix("ms") else {
        // Seconds or milliseconds: both would be guessed.
        let has_unit = text.ends_with(|char: char| !char.is_ascii_digit());
        return if has_unit { span(text) } else { Err("with a unit: 200ms, 2s".to_owned()) };
    };
    match number.parse() {
        Ok(ms @ 1..=3_600_000) => Ok(Duration::from_millis(ms)),
        Ok(_) | Err(_) => Err("from 1ms to 3600000ms".to_owned()),
    }
}

/// A size: a number of bytes, or of `KiB`, `MiB` or `GiB`.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("a number and a unit are wanted: 65536, 64KiB, 16MiB, 1GiB".to_owned()),
    };
    let number: usize = number.parse().map_err(|_| "no whole number".to_owned())?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(|| "out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_perhaps_a_unit() {
        assert_eq!(span("90"), Ok(Duration::from_secs(90)));
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(span("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(span("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(seconds("0"), Ok(0));
        for text in ["", "s", "h", "0", "0h", "-1h", "1.5h", "1 h", "1H", "é", "99999999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pause_may_be_of_milliseconds() {
        assert_eq!(pause("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(pause("2s"), Ok(Duration::from_secs(2)));
        for text in ["", "ms", "0ms", "-1ms", "1.5ms", "3600001ms", "200"] {
            assert!(pause(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_flow_is_so_much_a_second_and_so_much_at_once() {
        let is = |per_second, burst| Ok(Flow { per_second, burst });
        assert_eq!(flow("10"), is(10, 50));
        assert_eq!(flow("10:20"), is(10, 20));
        assert_eq!(size_flow("1MiB:64MiB"), is(1 << 20, 64 << 20));
        for text in ["", "0", ":", "10:", ":10", "10:5", "-1", "10:20:30"] {
            assert!(flow(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_a_number_and_perhaps_a_unit() {
        assert_eq!(bytes("65536"), Ok(65536));
        assert_eq!(bytes("64KiB"), Ok(65536));
        assert_eq!(bytes("16 MiB"), Ok(16 << 20));
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        for text in
            ["", "0", "-1", "1k", "1MB", "MiB", "1.5MiB", "99999999999999999999", "99999999999GiB"]
        {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
