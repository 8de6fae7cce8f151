//! Where a board is, and since when it runs.

use naming::{Flag, Label, Seconds, catalogue as m};
use reading::{Batch, Labels};

use super::hex;
use crate::raw::Rare;

/// Labels of the numbers of [`Rare::platform`].
const NUMBERS: [Label; 5] = [Label::Slot, Label::Tray, Label::HostId, Label::ModuleId, Label::PeerType];

/// Puts the place in the rack, and the time since the driver initialised the board.
pub fn put(rare: &Rare, batch: &mut Batch) {
    match &rare.platform {
        Ok(platform) => {
            let (serial, guid) = (platform.chassis_serial.clone(), hex(&platform.ib_guid));
            let texts = [(Label::ChassisSerial, serial), (Label::IbGuid, guid)];
            let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
            let numbers = NUMBERS.into_iter().zip(platform.numbers);
            let labels = texts.chain(numbers.map(|(label, number)| (label, number.to_string())));
            batch.put(m::PLATFORM_INFO, Labels::Shared(labels.collect()), Ok(Flag(true)));
        }
        Err(fault) => batch.put(m::PLATFORM_INFO, Labels::NONE, Err(*fault)),
    }
    batch.put(m::UPTIME, Labels::NONE, rare.uptime_s.map(|seconds| Seconds(seconds.into())));
}
