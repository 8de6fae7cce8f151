//! The fdinfo of a DRM client (Documentation/gpu/drm-usage-stats.rst).

use std::collections::HashMap;

/// The folder of these texts in procfs, and their name in faults.
pub const FDINFO: &str = "fdinfo";

/// Engine classes of xe and i915, and the values of the label `engine`.
const CLASSES: [(&str, &str); 10] = [
    ("rcs", "render"),
    ("bcs", "copy"),
    ("vcs", "media"),
    ("vecs", "enhance"),
    ("ccs", "compute"),
    ("render", "render"),
    ("copy", "copy"),
    ("video", "media"),
    ("video-enhance", "enhance"),
    ("compute", "compute"),
];

/// The value of the label `engine` for a driver's engine class; `other` for a class that is newer than this
/// table.
pub fn engine(class: &str) -> &'static str {
    CLASSES.iter().find(|(known, _)| *known == class).map_or("other", |(_, engine)| engine)
}

/// What one client reports.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// PCI address of the GPU.
    pub address: String,
    /// The driver's number for the client; several open files may belong to one client.
    pub id: u64,
    /// Its use of each engine class.
    pub engines: Vec<Usage>,
    /// Host memory resident for it, bytes, where the driver reports it.
    pub shared_bytes: Option<u64>,
    /// The card's own memory that is resident for it, bytes, where the driver reports it.
    pub local_bytes: Option<u64>,
}

/// A client's use of an engine class.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The driver's name for the class: `rcs`, `video`, ...
    pub class: String,
    /// Ticks (xe) or nanoseconds (i915) during which the class worked for the client.
    pub busy: u64,
    /// Ticks that passed on the same clock; xe only.
    pub total: Option<u64>,
    /// How many engines the class has.
    pub capacity: u64,
}

/// The lines of one engine class.
#[derive(Default)]
struct EngineLines {
    cycles: Option<u64>,
    total: Option<u64>,
    nanoseconds: Option<u64>,
    capacity: Option<u64>,
}

impl EngineLines {
    /// Busy time and the time that passed; `None` when a line is missing.
    fn times(&self) -> Option<(u64, Option<u64>)> {
        match (self.cycles, self.total, self.nanoseconds) {
            (Some(busy), Some(total), _) => Some((busy, Some(total))),
            (None, None, Some(busy)) => Some((busy, None)),
            _ => None,
        }
    }
}

/// Parses the text of one client. `None` when it is not a DRM client's, is cut short, or has anything but a
/// number where one belongs: with a part left out, the load of the card would be too low.
pub fn parse(text: &str) -> Option<Client> {
    let mut client = Client::default();
    let (mut address, mut id) = (None, None);
    let mut classes: HashMap<&str, EngineLines> = HashMap::new();
    let (mut resident, mut local) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        let number = || value.parse::<u64>().ok();
        if let Some(class) = key.strip_prefix("drm-cycles-") {
            classes.entry(class).or_default().cycles = Some(number()?);
        } else if let Some(class) = key.strip_prefix("drm-total-cycles-") {
            classes.entry(class).or_default().total = Some(number()?);
        } else if let Some(class) = key.strip_prefix("drm-engine-capacity-") {
            classes.entry(class).or_default().capacity = Some(number()?);
        } else if let Some(class) = key.strip_prefix("drm-engine-") {
            let nanoseconds = value.strip_suffix("ns").and_then(|number| number.trim().parse().ok());
            classes.entry(class).or_default().nanoseconds = Some(nanoseconds?);
        } else if let Some(region) = key.strip_prefix("drm-resident-") {
            if region.starts_with("system") || region == "gtt" {
                resident.push(bytes(value)?);
            } else if region.starts_with("vram") || region.starts_with("local") {
                local.push(bytes(value)?);
            }
        } else if key == "drm-pdev" {
            address = Some(value.to_owned());
        } else if key == "drm-client-id" {
            id = number();
        }
    }
    client.address = address?;
    client.id = id?;
    let sum = |regions: Vec<u64>| regions.into_iter().reduce(u64::saturating_add);
    (client.shared_bytes, client.local_bytes) = (sum(resident), sum(local));
    for (class, lines) in classes {
        let (busy, total) = lines.times()?;
        let capacity = lines.capacity.unwrap_or(1).max(1);
        client.engines.push(Usage { class: class.to_owned(), busy, total, capacity });
    }
    client.engines.sort_by(|a, b| a.class.cmp(&b.class));
    Some(client)
}

/// `0`, `192 KiB`, `16 MiB`.
fn bytes(value: &str) -> Option<u64> {
    let (number, unit) = value.split_once(' ').unwrap_or((value, ""));
    let factor = match unit.trim() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::{Usage, parse};

    const XE: &str = "pos:\t0\nflags:\t02100002\ndrm-driver:\txe\ndrm-client-id:\t3\n\
        drm-pdev:\t0000:03:00.0\ndrm-total-system:\t0\ndrm-resident-system:\t8 KiB\n\
        drm-resident-gtt:\t192 KiB\ndrm-resident-vram0:\t23992 KiB\n\
        drm-cycles-ccs:\t2800\ndrm-total-cycles-ccs:\t7600\ndrm-engine-capacity-ccs:\t4\n\
        drm-cycles-rcs:\t100\ndrm-total-cycles-rcs:\t7600\n";

    #[test]
    fn both_drivers_are_read_and_a_cut_text_is_not() {
        let client = parse(XE).expect("whole");
        assert_eq!((client.id, client.address.as_str()), (3, "0000:03:00.0"));
        assert_eq!(client.shared_bytes, Some(200 << 10));
        let ccs = Usage { class: "ccs".into(), busy: 2800, total: Some(7600), capacity: 4 };
        assert_eq!(client.engines[0], ccs);
        let i915 = parse(
            "drm-pdev: 0000:00:02.0\ndrm-client-id: 7\ndrm-engine-video-enhance: 12345 ns\n\
             drm-engine-capacity-video-enhance: 2\ndrm-resident-system0: 4 MiB\ndrm-resident-local0: 4 MiB\n",
        );
        let i915 = i915.expect("whole");
        let usage = Usage { class: "video-enhance".into(), busy: 12_345, total: None, capacity: 2 };
        assert_eq!((i915.engines, i915.shared_bytes), (vec![usage], Some(4 << 20)));
        for text in ["", "drm-pdev: 0000:03:00.0", "drm-client-id: x\ndrm-pdev: y", "\u{fffd}\u{fffd}:"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        // Engine time that cannot be read would be missing from the load.
        for line in [
            "drm-cycles-rcs: many",
            "drm-cycles-rcs: 5",
            "drm-total-cycles-rcs: 5",
            "drm-engine-render: 5 s",
            "drm-engine-capacity-rcs: -1",
            "drm-resident-gtt: 1 GB",
        ] {
            assert_eq!(parse(&format!("drm-pdev: a\ndrm-client-id: 1\n{line}")), None, "{line:?}");
        }
    }
}
