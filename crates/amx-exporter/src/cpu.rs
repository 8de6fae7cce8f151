//! The processor: CPUID decoded, and the models whose AMX can be counted.
//!
//! /proc/cpuinfo is not enough, because the kernel does not list AMX-FP16 there. Leaves: Intel SDM, volume
//! 2A, CPUID.

use naming::FaultCode;

/// EAX, EBX, ECX and EDX of one leaf.
pub type Registers = [u32; 4];

/// A processor, as CPUID describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// `GenuineIntel`, `AuthenticAMD`; empty where there is no CPUID.
    pub vendor: String,
    /// Brand string, trimmed; empty where there is none.
    pub brand: String,
    /// Display family.
    pub family: u32,
    /// Display model.
    pub model: u32,
    /// Whether cores are of different kinds.
    pub hybrid: bool,
    /// Whether CPUID reports a hypervisor.
    pub guest: bool,
    /// AMX-TILE, the tile registers that every AMX instruction needs.
    pub amx: bool,
    /// Data types of the AMX units, in the kernel's spelling where it has one.
    pub amx_types: Vec<&'static str>,
}

/// What is known of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Display family and model.
    number: (u32, u32),
    /// Code name, for `accel_device_info`.
    pub architecture: &'static str,
    /// Whether it has AMX units.
    has_amx: bool,
    /// Raw config of the event that counts a core's cycles once for all of its threads, where Intel publishes
    /// one. The kernel does not check raw configs: one of another model would count something else.
    pub core_cycles: Option<u64>,
    /// Raw config of EXE.AMX_BUSY, where Intel publishes the event.
    pub amx_busy: Option<u64>,
}

/// CPU_CLK_UNHALTED.THREAD: unhalted cycles of a thread, on every processor. They are also its core's cycles
/// where a core has one thread.
pub const THREAD_CYCLES: u64 = 0x003c;
const SINGLE: Option<u64> = Some(THREAD_CYCLES);
/// CPU_CLK_UNHALTED.DISTRIBUTED: a core's cycles, distributed over its unhalted threads, so that their sum is
/// right also where threads are disabled (event files SPR, EMR and GNR; models before Ice Lake have no such
/// event).
const DISTRIBUTED: Option<u64> = Some(0x02ec);
/// EXE.AMX_BUSY: event 0xb7, umask 0x02 (Intel perfmon event files SPR, EMR and GNR).
const AMX_BUSY: Option<u64> = Some(0x02b7);

/// Xeons since 2023, by display family and model.
const MODELS: [Model; 8] = [
    model(6, 0x8f, "sapphire-rapids", true, DISTRIBUTED, AMX_BUSY),
    model(6, 0xcf, "emerald-rapids", true, DISTRIBUTED, AMX_BUSY),
    model(6, 0xad, "granite-rapids", true, DISTRIBUTED, AMX_BUSY),
    model(6, 0xae, "granite-rapids-d", true, DISTRIBUTED, AMX_BUSY),
    model(6, 0xaf, "sierra-forest", false, SINGLE, None),
    model(6, 0xb6, "grand-ridge", false, SINGLE, None),
    model(6, 0xdd, "clearwater-forest", false, SINGLE, None),
    // Has AMX; no event file is published for it.
    model(19, 0x01, "diamond-rapids", true, None, None),
];

const fn model(
    family: u32,
    model: u32,
    architecture: &'static str,
    has_amx: bool,
    core_cycles: Option<u64>,
    amx_busy: Option<u64>,
) -> Model {
    Model { number: (family, model), architecture, has_amx, core_cycles, amx_busy }
}

impl Cpu {
    /// Decodes CPUID, which `leaf` reads: it takes a leaf and a sub-leaf and returns the registers, or zeros
    /// where there are none.
    pub fn decode(leaf: impl Fn(u32, u32) -> Registers) -> Self {
        let bit = |register: u32, bit: u32| register >> bit & 1 == 1;
        let [highest, b, c, d] = leaf(0, 0);
        let [signature, _, features, _] = leaf(1, 0);
        let [_, _, _, extended] = if highest >= 7 { leaf(7, 0) } else { [0; 4] };
        let [more, ..] = if highest >= 7 { leaf(7, 1) } else { [0; 4] };
        let (base_family, base_model) = (signature >> 8 & 0xf, signature >> 4 & 0xf);
        let family = if base_family == 0xf { 0xf + (signature >> 20 & 0xff) } else { base_family };
        let model = if base_family == 6 || base_family >= 0xf {
            (signature >> 16 & 0xf) << 4 | base_model
        } else {
            base_model
        };
        let types =
            [(bit(extended, 25), "amx_int8"), (bit(extended, 22), "amx_bf16"), (bit(more, 21), "amx_fp16")];
        let brand = if leaf(0x8000_0000, 0)[0] >= 0x8000_0004 {
            text((0x8000_0002..=0x8000_0004).flat_map(|number| leaf(number, 0)))
        } else {
            String::new()
        };
        Self {
            vendor: text([b, d, c]),
            brand,
            family,
            model,
            hybrid: bit(extended, 15),
            guest: bit(features, 31),
            amx: bit(extended, 24),
            amx_types: types.into_iter().filter_map(|(has, name)| has.then_some(name)).collect(),
        }
    }

    /// The table's row for this model.
    pub fn known(&self) -> Option<Model> {
        MODELS.into_iter().find(|row| row.number == (self.family, self.model))
    }

    /// Whether the model has AMX and CPUID does not show it.
    ///
    /// # Errors
    /// The model is not in the table.
    pub fn amx_missing(&self) -> Result<bool, FaultCode> {
        self.known().map(|model| model.has_amx && !self.amx).ok_or(FaultCode::UnknownModel)
    }

    /// Raw config of the event that counts cycles in which AMX is busy, or why there is none to open.
    pub fn amx_event(&self) -> Result<u64, FaultCode> {
        if self.amx { self.event(|model| model.amx_busy) } else { Err(FaultCode::NoAmx) }
    }

    /// Raw config of the event that counts the cycles of cores, or why there is none to open.
    pub fn core_event(&self) -> Result<u64, FaultCode> {
        self.event(|model| model.core_cycles)
    }

    fn event(&self, of: fn(&Model) -> Option<u64>) -> Result<u64, FaultCode> {
        of(&self.known().ok_or(FaultCode::UnknownModel)?).ok_or(FaultCode::NoPublishedEvent)
    }
}

/// Text in registers, low byte first, without padding.
fn text(registers: impl IntoIterator<Item = u32>) -> String {
    let bytes: Vec<u8> = registers.into_iter().flat_map(u32::to_le_bytes).collect();
    String::from_utf8_lossy(&bytes).trim_matches(['\0', ' ']).to_owned()
}

/// CPUID of the processor that this program runs on.
#[cfg(target_arch = "x86_64")]
pub fn cpuid(leaf: u32, subleaf: u32) -> Registers {
    let registers = std::arch::x86_64::__cpuid_count(leaf, subleaf);
    [registers.eax, registers.ebx, registers.ecx, registers.edx]
}

/// Other architectures have no CPUID.
#[cfg(not(target_arch = "x86_64"))]
pub fn cpuid(_leaf: u32, _subleaf: u32) -> Registers {
    [0; 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Intel processor with this signature, EDX of leaf 7.0 and EAX of leaf 7.1.
    fn intel(signature: u32, edx: u32, more: u32) -> Cpu {
        Cpu::decode(|leaf, subleaf| match (leaf, subleaf) {
            (0, 0) => [0x20, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
            (1, 0) => [signature, 0, 0, 0],
            (7, 0) => [1, 0, 0, edx],
            (7, 1) => [more, 0, 0, 0],
            _ => [0; 4],
        })
    }

    const TILE_BF16_INT8: u32 = 1 << 24 | 1 << 22 | 1 << 25;

    #[test]
    fn amx_is_gated_by_cpuid_first_and_by_the_model_second() {
        let cases = [
            (0x000a_06d1, TILE_BF16_INT8, 1 << 21, "granite-rapids", Ok(0x02ec), Ok(0x02b7)),
            (0x000a_06e1, TILE_BF16_INT8, 1 << 21, "granite-rapids-d", Ok(0x02ec), Ok(0x02b7)),
            (0x0008_06f8, TILE_BF16_INT8, 0, "sapphire-rapids", Ok(0x02ec), Ok(0x02b7)),
            (0x000c_06f2, TILE_BF16_INT8, 0, "emerald-rapids", Ok(0x02ec), Ok(0x02b7)),
            // A hypervisor that hides AMX.
            (0x0008_06f8, 0, 0, "sapphire-rapids", Ok(0x02ec), Err(FaultCode::NoAmx)),
            (0x000a_06f3, 0, 0, "sierra-forest", Ok(0x003c), Err(FaultCode::NoAmx)),
            (
                0x0040_0f10,
                TILE_BF16_INT8,
                0,
                "diamond-rapids",
                Err(FaultCode::NoPublishedEvent),
                Err(FaultCode::NoPublishedEvent),
            ),
            (0x000f_06f0, TILE_BF16_INT8, 0, "", Err(FaultCode::UnknownModel), Err(FaultCode::UnknownModel)),
            // Cascade Lake, which has threads and no event for the cycles of its cores.
            (0x0005_0657, 0, 0, "", Err(FaultCode::UnknownModel), Err(FaultCode::NoAmx)),
        ];
        for (signature, edx, more, architecture, core, event) in cases {
            let cpu = intel(signature, edx, more);
            assert_eq!(cpu.vendor, "GenuineIntel");
            assert_eq!(cpu.known().map_or("", |model| model.architecture), architecture, "{signature:#x}");
            assert_eq!((cpu.core_event(), cpu.amx_event()), (core, event), "{signature:#x}");
            let missing = match architecture {
                "" => Err(FaultCode::UnknownModel),
                _ => Ok(edx == 0 && architecture != "sierra-forest"),
            };
            assert_eq!(cpu.amx_missing(), missing, "{signature:#x}");
        }
        assert_eq!(
            intel(0x000a_06d1, TILE_BF16_INT8, 1 << 21).amx_types,
            ["amx_int8", "amx_bf16", "amx_fp16"]
        );
    }

    #[test]
    fn this_processor_is_decoded() {
        let cpu = Cpu::decode(cpuid);
        if cfg!(target_arch = "x86_64") {
            assert!(!cpu.vendor.is_empty() && cpu.family >= 6 && !cpu.brand.contains('\0'), "{cpu:?}");
        } else {
            assert_eq!(cpu, Cpu::default());
        }
    }
}
