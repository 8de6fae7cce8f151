//! `/-/detach` and `/-/attach`: the exporter lets go of devices, and takes them again.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{Request, Response, StatusCode};
use naming::{Family, Label, catalogue::DEVICE_INFO};
use reading::Alias;
use tokio::time::sleep;

use crate::{
    http::authority::{Admission, Authority},
    http::connection::Client,
    http::routes::text,
    sampling::detached::Cause,
    sampling::device::{Device, Snapshot},
    sampling::state::{NodeState, SourceState},
};

/// Lets go of devices.
pub const DETACH: &str = "/-/detach";
/// Takes them again.
pub const ATTACH: &str = "/-/attach";

/// How long a request waits until devices are closed: longer than a driver takes that responds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const MOMENT: Duration = Duration::from_millis(10);

/// Labels of `accel_device_info` that name one device.
const NAMES: [Label; 5] = [Label::PciBusId, Label::Serial, Label::Card, Label::RenderNode, Label::AccelNode];

/// A device, its source and what is printed of it.
struct Target {
    source: Arc<SourceState>,
    device: Arc<Device>,
    snapshot: Arc<Snapshot>,
}

impl Target {
    /// How people know it.
    fn name(&self) -> String {
        let name = self.snapshot.name();
        if self.device.key == name { name.to_owned() } else { format!("{name} ({})", self.device.key) }
    }

    /// Whether this is one of its names.
    fn is(&self, name: &str) -> bool {
        let identity = &self.snapshot.identity;
        let is_alias = |alias: &Alias| matches!(alias, Alias::Id(own) | Alias::Node(own) if own == name);
        let mut is_info = false;
        for info in self.snapshot.whole().flat_map(|subject| subject.of(DEVICE_INFO.id)) {
            for label in NAMES {
                info.labels.with_value(label, |value| is_info |= value == name);
            }
        }
        [Some(&self.device.key), Some(&identity.device), identity.uuid.as_ref()]
            .contains(&Some(&name.to_owned()))
            || self.device.address().is_some_and(|own| own == kernel::pci::address(name))
            || identity.aliases.iter().any(is_alias)
            || is_info
    }

    /// Whether this is a name of a part of it.
    fn has_part(&self, name: &str) -> bool {
        let parts = self.snapshot.subjects.iter().filter_map(|subject| subject.identity());
        let mut parts = parts.filter(|part| part.partition.is_some());
        parts.any(|part| part.uuid.as_deref() == Some(name) || part.partition.as_deref() == Some(name))
    }
}

/// What a request is refused with.
type Refusal = (StatusCode, String);

/// The response to a request for one of the two paths. `authority` is `None` where they are switched off.
pub async fn respond<B>(
    node: &NodeState,
    authority: Option<&Authority>,
    request: &Request<B>,
    client: Client,
    admission: Admission,
) -> Response<Bytes> {
    let Some(authority) = authority else {
        return text(StatusCode::FORBIDDEN, "switched off; start the exporter with --detach.enable\n");
    };
    if let Some(refusal) = authority.refusal(request, client, admission) {
        return refusal;
    }
    let targets = match targets(node, request.uri().query().unwrap_or_default()) {
        Ok(targets) => targets,
        Err((status, why)) => return text(status, why + "\n"),
    };
    if request.uri().path() == ATTACH {
        let line = |target: &Target| {
            let was_detached = target.source.attach(&target.device);
            let word = if was_detached { "attached" } else { "was not detached" };
            format!("{}: {word}\n", target.name())
        };
        return text(StatusCode::OK, targets.iter().map(line).collect::<String>());
    }
    for target in &targets {
        target.source.detach(&target.device, Cause::Request);
    }
    closed(&targets).await
}

/// Waits until nothing of the devices is open.
async fn closed(targets: &[Target]) -> Response<Bytes> {
    let until = Instant::now() + PATIENCE;
    let is_open = |target: &&Target| target.source.detached.is_open(&target.device.key) == Some(true);
    while targets.iter().any(|target| is_open(&target)) && Instant::now() < until {
        sleep(MOMENT).await;
    }
    let mut status = StatusCode::OK;
    let mut lines = String::new();
    for target in targets {
        let what = if is_open(&target) {
            status = StatusCode::GATEWAY_TIMEOUT;
            "detached, but still open: a call into its driver has not returned, or its library closes nothing \
             before its process ends (see --isolate)"
        } else {
            "detached; nothing of it is open"
        };
        writeln!(lines, "{}: {what}", target.name()).expect("a string takes any text");
    }
    text(status, lines)
}

/// The devices that a query names: `device` is any name of one, `family` is all of a family.
fn targets(node: &NodeState, query: &str) -> Result<Vec<Target>, Refusal> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let mut targets: Vec<Target> = Vec::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let found = match &*key {
            "device" => vec![named(node, &value)?],
            "family" => of_family(node, &value)?,
            _ => return Err(bad(format!("{key}: unknown; use device or family"))),
        };
        let found = found
            .into_iter()
            .filter(|new| !targets.iter().any(|known| Arc::ptr_eq(&known.device, &new.device)));
        let found: Vec<_> = found.collect();
        targets.extend(found);
    }
    if targets.is_empty() {
        return Err(bad("no device is named; add ?device= with its name, UUID or PCI address".to_owned()));
    }
    let is_nowhere =
        |target: &&Target| target.source.family.pci().is_some() && target.device.address().is_none();
    if let Some(target) = targets.iter().find(is_nowhere) {
        let why = "its place on the bus is not known, so its driver cannot be kept from opening it";
        return Err((StatusCode::CONFLICT, format!("{}: {why}", target.name())));
    }
    Ok(targets)
}

fn all(node: &NodeState) -> impl Iterator<Item = Target> {
    node.sources.iter().flat_map(|source| {
        let target = |(device, snapshot)| Target { source: Arc::clone(source), device, snapshot };
        source.shown().into_iter().map(target)
    })
}

fn named(node: &NodeState, name: &str) -> Result<Target, Refusal> {
    let mut found: Vec<_> = all(node).filter(|target| target.is(name)).collect();
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(Target::name).collect();
        return Err((StatusCode::CONFLICT, format!("{name:?} is {}; name one", names.join(" and "))));
    }
    if let Some(whole) = all(node).find(|target| found.is_empty() && target.has_part(name)) {
        let whole = whole.name();
        return Err((
            StatusCode::BAD_REQUEST,
            format!("{name:?} is a part of {whole}, which goes as a whole"),
        ));
    }
    found.pop().ok_or_else(|| {
        let names: Vec<_> = all(node).map(|target| target.snapshot.name().to_owned()).collect();
        (StatusCode::NOT_FOUND, format!("no device {name:?} here; there is {}", names.join(", ")))
    })
}

fn of_family(node: &NodeState, name: &str) -> Result<Vec<Target>, Refusal> {
    let known: BTreeSet<_> = node.sources.iter().map(|source| source.family).collect();
    let family = known.iter().find(|family| family.name() == name).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|family: &Family| family.name()).collect();
        (StatusCode::NOT_FOUND, format!("no family {name:?} here; there is {}", names.join(", ")))
    })?;
    let found: Vec<_> = all(node).filter(|target| target.source.family == *family).collect();
    if found.is_empty() {
        return Err((StatusCode::NOT_FOUND, format!("no device of the family {name} here")));
    }
    Ok(found)
}
