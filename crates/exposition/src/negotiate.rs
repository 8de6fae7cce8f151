//! Selects the format for a client: matches the `Accept` header with the three formats, as RFC 9110
//! specifies.

use std::{borrow::Cow, cmp::Reverse};

use mediatype::{MediaType, MediaTypeList, Name, ReadParams};

/// A format of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics text 1.0.0.
    OpenMetrics,
    /// `io.prometheus.client.MetricFamily` messages, each after its length.
    Protobuf,
}

impl Format {
    /// Every format, in order of preference: the first wins where a client prefers several equally.
    pub const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// The media type with the parameters that distinguish this format from others of the type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// The result for an `Accept` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The format to encode.
    pub format: Format,
    /// The `Content-Type` of the response.
    pub content_type: Cow<'static, str>,
}

/// Escaping schemes for metric names. Every exported name is valid without escaping, so each scheme is
/// satisfied without a change; the scheme is repeated in the response for clients that check it.
const ESCAPING: Name = Name::new_unchecked("escaping");
const ESCAPING_SCHEMES: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

const QUALITY: Name = Name::new_unchecked("q");

/// Returns the format that the client prefers: the highest `q`, then the one named first, then the order of
/// [`Format::ALL`]. `accept` is the header's value; several headers are joined by commas.
///
/// No request is refused. Prometheus, browsers and `curl` all parse text 0.0.4, so this is the result when
/// the header names no supported format or cannot be parsed.
pub fn negotiate(accept: Option<&str>) -> Negotiated {
    let accept = accept.unwrap_or_default();
    let best = Format::ALL
        .into_iter()
        .filter_map(|format| Some((format, preference(accept, format)?)))
        .filter(|(_, preference)| preference.quality > 0)
        .min_by_key(|(_, preference)| (Reverse(preference.quality), preference.position));
    let Some((format, preference)) = best else {
        return Negotiated { format: Format::Text, content_type: Format::Text.content_type().into() };
    };
    let content_type = match preference.escaping {
        Some(scheme) => format!("{}; escaping={scheme}", format.content_type()).into(),
        None => format.content_type().into(),
    };
    Negotiated { format, content_type }
}

/// A client's preference for one format.
struct Preference {
    /// `q` in thousandths; 0 means not acceptable.
    quality: u16,
    /// Index of the entry in the header.
    position: usize,
    escaping: Option<&'static str>,
}

/// Returns the preference for `format`, from the most specific entry that matches it.
fn preference(accept: &str, format: Format) -> Option<Preference> {
    let offer = MediaType::parse(format.content_type()).expect("our content types parse");
    let mut best = None;
    let mut most_specific = 0;
    for (position, range) in MediaTypeList::new(accept).enumerate() {
        let Ok(range) = range else { continue };
        let (Some(specificity), Some(quality)) = (specificity(&range, &offer), quality(&range)) else {
            continue;
        };
        if best.is_none() || specificity > most_specific {
            most_specific = specificity;
            best = Some(Preference { quality, position, escaping: escaping(&range) });
        }
    }
    best
}

/// Returns how specifically `range` matches `offer`; `None` if it is another type or another variant of it.
/// Parameters that the offer does not have (`escaping`, `q`) are ignored.
fn specificity(range: &MediaType, offer: &MediaType) -> Option<usize> {
    match (range.ty.as_str(), range.subty.as_str()) {
        ("*", "*") => Some(0),
        (_, "*") if range.ty == offer.ty => Some(1),
        _ if range.essence() == offer.essence() => {
            let mut specificity = 2;
            for (name, wanted) in range.params() {
                let Some(ours) = offer.get_param(name) else { continue };
                if !ours.unquoted_str().eq_ignore_ascii_case(&wanted.unquoted_str()) {
                    return None;
                }
                specificity += 1;
            }
            Some(specificity)
        }
        _ => None,
    }
}

/// Returns `q` in thousandths: 1000 if it is not given, and `None`, which invalidates the entry, if it is not
/// a weight.
fn quality(range: &MediaType) -> Option<u16> {
    let Some(weight) = range.get_param(QUALITY) else { return Some(1000) };
    let weight: f32 = weight.as_str().parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
    (0.0..=1.0).contains(&weight).then(|| (weight * 1000.0).round() as u16)
}

fn escaping(range: &MediaType) -> Option<&'static str> {
    let wanted = range.get_param(ESCAPING)?;
    ESCAPING_SCHEMES.into_iter().find(|scheme| wanted == *scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    const PROTOBUF: &str =
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

    #[track_caller]
    fn answers(accept: &str, content_type: &str) {
        let negotiated = negotiate(Some(accept));
        assert_eq!(negotiated.content_type, content_type, "{accept:.200}");
        assert!(content_type.starts_with(negotiated.format.content_type()));
    }

    #[test]
    fn scrapers_get_what_they_ask_for() {
        // Prometheus 2.42, without and with native histograms.
        answers(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPENMETRICS,
        );
        answers(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
             application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            PROTOBUF,
        );
        // Prometheus 3.5, without and with native histograms.
        let v3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                  application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                  text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        answers(v3, &format!("{OPENMETRICS}; escaping=allow-utf-8"));
        answers(
            &format!(
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,{v3}"
            ),
            PROTOBUF,
        );
        // Prometheus with scrape_protocols that put text first.
        answers(
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,\
             application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.3",
            TEXT,
        );
        // Prometheus before OpenMetrics 1.0; VictoriaMetrics.
        answers("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TEXT);
        answers("text/plain;version=0.0.4;q=1,*/*;q=0.1", TEXT);
    }

    #[test]
    fn people_get_text() {
        answers("*/*", TEXT);
        answers("text/*", TEXT);
        answers("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", TEXT);
        assert_eq!(negotiate(None).content_type, TEXT);
    }

    #[test]
    fn weights_and_specificity_decide() {
        answers("text/plain;q=0.1,application/openmetrics-text;q=0.2", OPENMETRICS);
        answers("text/plain;q=0.200,application/openmetrics-text;q=0.2", TEXT);
        answers("application/openmetrics-text,text/plain", OPENMETRICS);
        let (exact, any) =
            ("application/openmetrics-text;version=1.0.0;q=0.1", "application/openmetrics-text");
        answers(&format!("{exact},{any},text/plain;q=0.5"), TEXT);
        answers(&format!("{any},{exact},text/plain;q=0.5"), TEXT);
        answers("application/*;q=0.9,*/*;q=0.1", OPENMETRICS);
        answers("Application/OpenMetrics-Text ; Version=\"1.0.0\"; Charset=UTF-8", OPENMETRICS);
    }

    #[test]
    fn zero_is_a_refusal_that_still_gets_text_when_nothing_is_left() {
        answers("text/plain;q=0,*/*", OPENMETRICS);
        answers("application/openmetrics-text;q=0,*/*;q=0.5", TEXT);
        answers("application/openmetrics-text;q=0.0", TEXT);
        answers("*/*;q=0", TEXT);
        answers("text/plain;q=0,application/*;q=0,application/vnd.google.protobuf", PROTOBUF);
    }

    #[test]
    fn other_variants_are_not_ours() {
        answers(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            TEXT,
        );
        answers("application/openmetrics-text;version=2.0.0", TEXT);
        answers("application/json", TEXT);
    }

    #[test]
    fn known_escaping_schemes_are_echoed() {
        for scheme in ESCAPING_SCHEMES {
            answers(
                &format!("text/plain;version=0.0.4;escaping={scheme}"),
                &format!("{TEXT}; escaping={scheme}"),
            );
        }
        answers("text/plain;escaping=klingon", TEXT);
        answers("text/plain;escaping=\"dots\\r\\nX-Evil: 1\"", TEXT);
    }

    #[test]
    fn garbage_gets_text() {
        for accept in
            ["", " ", ",", ",,;;==", "/", "*", "text/", "\"", "\u{0}\u{7f}é漢", "q=0.5", "text/plain;q="]
        {
            answers(accept, TEXT);
        }
        for weight in ["2", "-1", "NaN", "inf", "1e9", "x", ""] {
            answers(&format!("application/openmetrics-text;q={weight}"), TEXT);
            answers(&format!("application/openmetrics-text;q={weight},*/*;q=0.1"), TEXT);
        }
    }

    #[test]
    fn a_hundred_kilobytes_of_junk_cost_little() {
        let start = std::time::Instant::now();
        for junk in
            [",", ";", "\"", "a", "a/b,", "*/*;", ";q=1", "text/plain;q=0.1,", "a/b;c=d;", "\\\"", "é"]
        {
            answers(&junk.repeat(100_000 / junk.len()), TEXT);
            answers(&format!("a/b{}", junk.repeat(100_000 / junk.len())), TEXT);
        }
        assert!(start.elapsed().as_secs() < 5, "quadratic: {:?}", start.elapsed());
    }
}
