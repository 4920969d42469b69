//! `time`: ISO 8601, UTC, with milliseconds (`2026-11-25T05:43:43.172Z`).
//!
//! Both ways remember the last second, since within one only three digits change.

/// The text as it travels.
pub(in crate::proto) type TimeText = [u8; 24];

/// The last moment that a year of four digits can express.
const LAST_UNIX_MS: u64 = 253_402_300_799_999;

const MS_PER_DAY: u64 = 86_400_000;

/// Writes times.
pub(in crate::proto) struct TimeWriter {
    second: u64,
    text: TimeText,
}

impl TimeWriter {
    pub(in crate::proto) fn new() -> Self {
        Self {
            second: 0,
            text: *b"1970-01-01T00:00:00.000Z",
        }
    }

    /// The text of that moment; of the year 9999's last one for anything later.
    #[inline]
    pub(in crate::proto) fn write(&mut self, unix_ms: u64) -> TimeText {
        let unix_ms = unix_ms.min(LAST_UNIX_MS);
        let second = unix_ms / 1000;
        if second != self.second {
            self.second = second;
            self.write_second();
        }
        put_digits(&mut self.text[20..23], unix_ms % 1000);
        self.text
    }

    #[cold]
    fn write_second(&mut self) {
        let (year, month, day) = date_of(self.second / 86_400);
        let text = &mut self.text;
        put_digits(&mut text[..4], year);
        put_digits(&mut text[5..7], month);
        put_digits(&mut text[8..10], day);
        put_digits(&mut text[11..13], self.second / 3600 % 24);
        put_digits(&mut text[14..16], self.second / 60 % 60);
        put_digits(&mut text[17..19], self.second % 60);
    }
}

/// Reads times.
pub(in crate::proto) struct TimeReader {
    /// The beginning of the last text, up to its point, and its value in milliseconds.
    second: [u8; 20],
    unix_ms: u64,
}

impl TimeReader {
    pub(in crate::proto) fn new() -> Self {
        Self {
            second: *b"1970-01-01T00:00:00.",
            unix_ms: 0,
        }
    }

    /// Milliseconds since 1970, or `None` for what is not a time after that in this format. A
    /// fraction of any length is taken, and cut to milliseconds.
    #[inline]
    pub(in crate::proto) fn read(&mut self, text: &[u8]) -> Option<u64> {
        let text = text.strip_suffix(b"Z")?;
        if let Some((second, fraction)) = text.split_first_chunk::<20>() {
            if *second != self.second {
                let unix_ms = parse_second(second.strip_suffix(b".")?)?;
                (self.second, self.unix_ms) = (*second, unix_ms);
            }
            if let [a, b, c] = fraction {
                return Some(self.unix_ms + 100 * digit(*a)? + 10 * digit(*b)? + digit(*c)?);
            }
            if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let place = |i: usize| fraction.get(i).map_or(0, |d| u64::from(d - b'0'));
            return Some(self.unix_ms + 100 * place(0) + 10 * place(1) + place(2));
        }
        parse_second(text)
    }
}

/// Reads `2026-11-25T05:43:43`.
fn parse_second(text: &[u8]) -> Option<u64> {
    let &[
        y0,
        y1,
        y2,
        y3,
        b'-',
        mo0,
        mo1,
        b'-',
        d0,
        d1,
        b'T',
        h0,
        h1,
        b':',
        m0,
        m1,
        b':',
        s0,
        s1,
    ] = text
    else {
        return None;
    };
    let two = |tens, ones| Some(10 * digit(tens)? + digit(ones)?);
    let (year, month, day) = (
        100 * two(y0, y1)? + two(y2, y3)?,
        two(mo0, mo1)?,
        two(d0, d1)?,
    );
    let (hour, minute, second) = (two(h0, h1)?, two(m0, m1)?, two(s0, s1)?);
    if year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    Some(days_before(year, month, day) * MS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1000)
}

#[inline]
fn digit(byte: u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| u64::from(byte - b'0'))
}

#[inline]
fn put_digits(place: &mut [u8], mut value: u64) {
    for byte in place.iter_mut().rev() {
        *byte = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(is_leap(year)),
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of a year.
fn days_before_year(year: u64) -> u64 {
    let past = year - 1;
    // Leap days since the year 1, less the 477 of them before 1970.
    (year - 1970) * 365 + past / 4 - past / 100 + past / 400 - 477
}

fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let months: u64 = (1..month).map(|m| days_in(year, m)).sum();
    days_before_year(year) + months + day - 1
}

/// Year, month and day of the `days`-th day after 1970-01-01.
fn date_of(days: u64) -> (u64, u64, u64) {
    // A year has at least 365 days: this is never too early, and at most a few years too late.
    let mut year = 1970 + days / 365;
    while days_before_year(year) > days {
        year -= 1;
    }
    let mut rest = days - days_before_year(year);
    let mut month = 1;
    while rest >= days_in(year, month) {
        rest -= days_in(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let mut writer = TimeWriter::new();
        let mut reader = TimeReader::new();
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_373_841_411_012, "2013-07-14T22:36:51.012Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_795_585_423_172, "2026-11-25T05:43:43.172Z"),
            (1_795_585_423_999, "2026-11-25T05:43:43.999Z"),
            (1_795_585_424_000, "2026-11-25T05:43:44.000Z"),
            (LAST_UNIX_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(std::str::from_utf8(&writer.write(unix_ms)), Ok(text));
            assert_eq!(reader.read(text.as_bytes()), Some(unix_ms));
        }
        assert_eq!(writer.write(u64::MAX), *b"9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn every_day_for_centuries() {
        let mut writer = TimeWriter::new();
        let mut reader = TimeReader::new();
        let mut last = String::new();
        for day in 0..250_000 {
            let unix_ms = day * MS_PER_DAY + day * 7919 % MS_PER_DAY;
            let text = writer.write(unix_ms);
            assert_eq!(reader.read(&text), Some(unix_ms));
            let text = String::from_utf8(text.into()).unwrap();
            assert!(text > last, "{text} does not follow {last}");
            last = text;
        }
    }

    #[test]
    fn other_fractions() {
        let mut reader = TimeReader::new();
        assert_eq!(reader.read(b"1970-01-01T00:00:01Z"), Some(1000));
        assert_eq!(reader.read(b"1970-01-01T00:00:01.5Z"), Some(1500));
        assert_eq!(reader.read(b"1970-01-01T00:00:01.123456Z"), Some(1123));
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let mut reader = TimeReader::new();
        for text in [
            "",
            "Z",
            "now",
            "2026-11-25",
            "2026-11-25T05:43:43.172",
            "2026-11-25T05:43:43.172+01:00",
            "2026-11-25 05:43:43.172Z",
            "2026-13-25T05:43:43.172Z",
            "2026-00-25T05:43:43.172Z",
            "2026-02-29T05:43:43.172Z",
            "2026-11-00T05:43:43.172Z",
            "2026-11-25T24:43:43.172Z",
            "2026-11-25T05:60:43.172Z",
            "2026-11-25T05:43:60.172Z",
            "2026-11-25T05:43:43.17xZ",
            "2026-11-25T05:43:43.Z",
            "2026-11-25T05:43:43.1x3456Z",
            "1969-12-31T23:59:59.999Z",
            "+010000-01-01T00:00:00.000Z",
        ] {
            assert_eq!(reader.read(text.as_bytes()), None, "{text}");
        }
    }
}
