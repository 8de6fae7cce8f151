//! Who holds a device, in a body.

use std::sync::Arc;

use naming::Family;

use super::{BOTH, device, identity, text};
use crate::{Format, Held, Options, encode::count};

#[test]
fn holders_are_named_under_vendors_names_only_and_once_each() {
    let holder = |pod: &str| vec![("container", "main".to_owned()), ("pod", pod.to_owned())];
    let held = [Held {
        identity: Arc::clone(&identity(Family::Nvidia, 0)),
        holders: vec![holder("a"), holder("b\"")],
    }];
    let subjects = [device(0), device(1)];
    let options = Options { held: &held, ..BOTH };
    let body = text(Format::Text, &subjects, &options);
    let series = |name: &str| body.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    assert_eq!(
        series("DCGM_FI_DEV_GPU_TEMP{"),
        [
            r#"DCGM_FI_DEV_GPU_TEMP{gpu="0",modelName="NVIDIA H100 80GB HBM3",container="main",pod="a"} 45"#,
            r#"DCGM_FI_DEV_GPU_TEMP{gpu="0",modelName="NVIDIA H100 80GB HBM3",container="main",pod="b\""} 45"#,
            r#"DCGM_FI_DEV_GPU_TEMP{gpu="1",modelName="NVIDIA H100 80GB HBM3"} 45"#,
        ]
    );
    let unified = text(Format::Text, &subjects, &Options { vendor: false, ..options });
    assert_eq!(unified, text(Format::Text, &subjects, &Options { vendor: false, ..BOTH }));
    let counted: usize = count(&subjects, &options).iter().map(|(_, series)| series).sum();
    assert_eq!(counted, body.lines().filter(|line| !line.starts_with('#')).count());
}
