//! The load of the devices: phases by schedule, each with the load that an inference server puts on
//! every engine.

use std::str::FromStr;

/// Which schedule the machine runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workload {
    /// A server's day in ten minutes: all the phases below in turn.
    #[default]
    Mixed,
    /// Nothing loaded, nothing running.
    Idle,
    /// Prompts: bound by compute.
    Prefill,
    /// Tokens: bound by memory bandwidth.
    Decode,
    /// Decode with short bursts of prompts that reach the power limit.
    Burst,
    /// Full load with warm air, a failing fan and a power brake: every reason to slow down.
    Hot,
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "mixed" => Self::Mixed,
            "idle" => Self::Idle,
            "prefill" => Self::Prefill,
            "decode" => Self::Decode,
            "burst" => Self::Burst,
            "hot" => Self::Hot,
            _ => {
                return Err(format!("workload {text:?}: one of mixed, idle, prefill, decode, burst, hot"));
            }
        })
    }
}

/// The load of one phase. Ratios are of the engine's time or of the link's capacity, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// Time with any kernel on the device.
    pub graphics: f64,
    /// Time with a warp on an SM.
    pub sm: f64,
    /// Warps resident, of the most there can be.
    pub occupancy: f64,
    /// Tensor pipes.
    pub tensor: f64,
    /// Device memory interface.
    pub dram: f64,
    /// FP64 pipe.
    pub fp64: f64,
    /// FP32 pipe.
    pub fp32: f64,
    /// FP16 pipe.
    pub fp16: f64,
    /// Integer pipe.
    pub integer: f64,
    /// Video decoders.
    pub decoder: f64,
    /// JPEG decoders.
    pub jpeg: f64,
    /// PCIe from the device.
    pub pcie_transmit: f64,
    /// PCIe to the device.
    pub pcie_receive: f64,
    /// NVLink, each direction.
    pub nvlink: f64,
    /// Where the KV cache is heading, of the room that the weights leave.
    pub kv_cache: f64,
    /// Whether model weights are in memory.
    pub loaded: bool,
    /// Thermal resistance as a multiple of the profile's: above 1, cooling is failing.
    pub heat_resistance: f64,
    /// Ambient above the profile's, °C.
    pub warm_air_celsius: f64,
    /// The power supply asserts its brake.
    pub power_brake: bool,
}

const EMPTY: Phase = Phase {
    graphics: 0.0,
    sm: 0.0,
    occupancy: 0.0,
    tensor: 0.0,
    dram: 0.0,
    fp64: 0.0,
    fp32: 0.0,
    fp16: 0.0,
    integer: 0.0,
    decoder: 0.0,
    jpeg: 0.0,
    pcie_transmit: 0.0,
    pcie_receive: 0.0,
    nvlink: 0.0,
    kv_cache: 0.0,
    loaded: false,
    heat_resistance: 1.0,
    warm_air_celsius: 0.0,
    power_brake: false,
};

/// Weights in memory, no requests.
const WAITING: Phase = Phase { loaded: true, kv_cache: 0.05, ..EMPTY };

const PREFILL: Phase = Phase {
    graphics: 0.99,
    sm: 0.96,
    occupancy: 0.42,
    tensor: 0.76,
    dram: 0.38,
    fp32: 0.06,
    fp16: 0.10,
    integer: 0.12,
    pcie_transmit: 0.01,
    pcie_receive: 0.05,
    nvlink: 0.32,
    kv_cache: 0.55,
    ..WAITING
};

const DECODE: Phase = Phase {
    graphics: 0.97,
    sm: 0.86,
    occupancy: 0.28,
    tensor: 0.21,
    dram: 0.80,
    fp32: 0.05,
    fp16: 0.07,
    integer: 0.09,
    pcie_transmit: 0.004,
    pcie_receive: 0.006,
    nvlink: 0.16,
    kv_cache: 0.88,
    ..WAITING
};

/// Prompts and tokens together, as much as the device takes.
const PEAK: Phase = Phase {
    graphics: 1.0,
    sm: 0.98,
    occupancy: 0.55,
    tensor: 0.88,
    dram: 0.68,
    fp32: 0.08,
    fp16: 0.14,
    integer: 0.15,
    pcie_transmit: 0.03,
    pcie_receive: 0.08,
    nvlink: 0.42,
    kv_cache: 0.95,
    ..WAITING
};

/// Many small forward passes, with images to decode on the way in.
const EMBEDDINGS: Phase = Phase {
    graphics: 0.88,
    sm: 0.78,
    occupancy: 0.48,
    tensor: 0.57,
    dram: 0.46,
    fp64: 0.01,
    fp32: 0.11,
    fp16: 0.12,
    integer: 0.10,
    decoder: 0.08,
    jpeg: 0.16,
    pcie_transmit: 0.02,
    pcie_receive: 0.06,
    nvlink: 0.04,
    kv_cache: 0.20,
    ..WAITING
};

const HOT: Phase = Phase { warm_air_celsius: 22.0, ..PEAK };

impl Workload {
    /// The phases of one period, each with its length in seconds.
    pub fn schedule(self) -> &'static [(f64, Phase)] {
        match self {
            Self::Mixed => &[
                (60.0, WAITING),
                (45.0, PREFILL),
                (120.0, DECODE),
                (30.0, PEAK),
                (90.0, DECODE),
                (75.0, EMBEDDINGS),
                (30.0, PREFILL),
                (90.0, DECODE),
                (60.0, WAITING),
            ],
            Self::Idle => &[(1.0, EMPTY)],
            Self::Prefill => &[(1.0, PREFILL)],
            Self::Decode => &[(1.0, DECODE)],
            Self::Burst => &[(40.0, DECODE), (20.0, PEAK)],
            Self::Hot => &[
                (300.0, HOT),
                (60.0, Phase { heat_resistance: 3.0, ..HOT }),
                (220.0, HOT),
                (20.0, Phase { power_brake: true, ..HOT }),
            ],
        }
    }

    /// The phase at a second of the period; the schedule repeats.
    pub fn phase(self, second: f64) -> &'static Phase {
        let schedule = self.schedule();
        let mut left = second % schedule.iter().map(|(length, _)| length).sum::<f64>();
        for (length, phase) in schedule {
            if left < *length {
                return phase;
            }
            left -= length;
        }
        &schedule[0].1
    }
}
