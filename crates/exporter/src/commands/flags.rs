//! The commands and every flag that does not belong to one source. What a user reads in `--help`, in the
//! manual page and in `docs/flags.md` is written here, once.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use tracing::Level;

use super::{
    generate::Generate,
    values::{
        ListenAddress, fine_interval, incident_max, interval, list_interval, listen_address, peer,
        request_path, timeout,
    },
};

// A comment on a type of this module would become the description of the command that takes its flags.

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
pub struct CommandLine {
    #[command(flatten)]
    pub serve: ServeFlags,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it, in a box")]
pub enum Command {
    /// Serve metrics over HTTP; the command that runs when none is given
    Serve(ServeFlags),
    /// Show what is on this node, which library reported it, and each metric or why it is missing
    Probe(ProbeFlags),
    /// Say in one line whether the devices of this node can be given work; exit code 0 ok, 1 not, 2 unknown
    Health(HealthFlags),
    /// List every metric with its vendor names and sources
    Fields(JsonFlag),
    /// Write what follows from the catalogues and the command line
    Generate(Generate),
}

#[derive(Args)]
pub struct ServeFlags {
    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub sampling: SamplingFlags,
    #[command(flatten)]
    pub sources: SourceFlags,
    #[command(flatten)]
    pub workloads: WorkloadFlags,
    #[command(flatten)]
    pub log: LogFlags,
    #[command(flatten)]
    pub names: NamesFlags,
    #[command(flatten)]
    pub incident: IncidentFlags,
    #[command(flatten)]
    pub web: WebFlags,
    #[command(flatten)]
    pub detach: DetachFlags,
    #[command(flatten)]
    pub health: HealthSocketFlags,
    #[command(flatten)]
    pub kernel_log: KernelLogFlags,
}

#[derive(Args)]
#[command(next_help_heading = "Verdict")]
pub struct HealthFlags {
    #[command(flatten)]
    pub json: JsonFlag,

    /// Devices to ask about, by name, UUID or PCI address; each has a line of its own. Without it, all of the node
    #[arg(long, value_name = "DEVICE", value_delimiter = ',')]
    pub device: Vec<String>,

    /// Time in which there is a verdict, unknown at the end of it; without a running exporter, a driver call hangs
    /// that takes a quarter of it, 1s to 5m
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = list_interval)]
    pub timeout: Duration,

    /// The least bad state for which the exit code is 1
    #[arg(long = "fail-on", value_name = "STATE", default_value = "degraded")]
    pub fail_on: Worst,

    /// Socket of the exporter that runs, which is asked first
    #[arg(long = "health.socket", value_name = "PATH", default_value = "/run/accelscope/health.sock")]
    pub socket: Option<PathBuf>,

    /// Look at the devices, and print what the socket sends
    #[arg(long, hide = true)]
    pub look: bool,

    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub sources: SourceFlags,
    #[command(flatten)]
    pub log: LogFlags,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Worst {
    Degraded,
    Failed,
}

#[derive(Args)]
#[command(next_help_heading = "Health")]
pub struct HealthSocketFlags {
    /// Socket on which accelscope health reads the verdict on the devices, for the user and group of this process;
    /// by default /run/accelscope/health.sock where that folder exists; empty for none
    #[arg(long = "health.socket", value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

#[derive(Args)]
pub struct ProbeFlags {
    #[command(flatten)]
    pub config: ConfigFlags,
    #[command(flatten)]
    pub json: JsonFlag,
    #[command(flatten)]
    pub sources: SourceFlags,
    #[command(flatten)]
    pub workloads: WorkloadFlags,
    #[command(flatten)]
    pub log: LogFlags,
}

#[derive(Args)]
#[command(next_help_heading = "Settings")]
pub struct ConfigFlags {
    /// A file of settings: every flag of serve by its name, in TOML. Without it, the file of the program's name in
    /// /etc/accelscope, where there is one
    #[arg(id = super::config::FLAG, long = super::config::FLAG, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Args)]
pub struct JsonFlag {
    /// Print JSON for machines
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingFlags {
    /// Time between two samples of a device, 100ms to 5m
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,

    /// Export load and memory of the host as context; node_exporter has more
    #[arg(long = "host.metrics")]
    pub host_metrics: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Sources")]
pub struct SourceFlags {
    /// Which kinds of device to look for; auto is all of them
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_delimiter = ',')]
    pub source: Vec<String>,

    /// Which vendors' libraries are called in processes of their own, so that a crash costs only their series:
    /// auto is those beside kernel files that are read anyway, on is all
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub isolate: Isolate,

    /// Root of the host's sysfs
    #[arg(long = "path.sysfs", value_name = "DIR", default_value = "/sys")]
    pub sysfs: PathBuf,

    /// Root of the host's procfs
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc")]
    pub procfs: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Isolate {
    Auto,
    On,
    Off,
}

#[derive(Args)]
#[command(next_help_heading = "Workloads")]
pub struct WorkloadFlags {
    /// Whether to report who holds each device; auto asks the kubelet, where this node has one,
    /// and looks at the control groups of processes on devices
    #[arg(long = "workloads", value_name = "WHEN", default_value = "auto")]
    pub when: Workloads,

    /// Time between two lists of holders, 1s to 5m
    #[arg(
        long = "workloads.interval",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = list_interval
    )]
    pub list_interval: Duration,

    /// Socket of the kubelet's pod-resources API; by default it is looked for where kubelets have it
    #[arg(long = "kubelet.pod-resources-socket", value_name = "PATH")]
    pub pod_resources_socket: Option<PathBuf>,

    /// Socket of the kubelet's PodInfo API, for UIDs and labels of pods; by default pods/kubelet.sock beside the
    /// folder of the pod-resources API, if it exists
    #[arg(long = "kubelet.pods-socket", value_name = "PATH")]
    pub pods_socket: Option<PathBuf>,

    /// Labels of pods to export, by name; needs the PodInfo API
    #[arg(long = "kubernetes.pod-labels", value_name = "LABEL", value_delimiter = ',')]
    pub pod_labels: Vec<String>,

    /// Folder in which the scripts of a batch system write which job has which device: files named by GPU, as
    /// dcgm-exporter and AMD's exporter read them
    #[arg(long = "workloads.job-mapping", value_name = "DIR")]
    pub jobs: Option<PathBuf>,

    /// Folder in which DRA drivers write files of the container device interface
    #[arg(long = "path.cdi", value_name = "DIR", default_value = "/var/run/cdi")]
    pub cdi: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workloads {
    Auto,
    Off,
}

#[derive(Args)]
#[command(next_help_heading = "Log")]
pub struct LogFlags {
    /// Least severe message to log
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = levels())]
    pub level: Level,

    /// Format of the log lines on standard error
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "text")]
    pub format: LogFormat,
}

fn levels() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(["error", "warn", "info", "debug"])
        .map(|level| level.parse().expect("each of these is a level"))
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Args)]
#[command(next_help_heading = "Names")]
pub struct NamesFlags {
    /// Names to export: one schema for all devices, and those of the vendor's own exporter
    #[arg(long, value_name = "SCHEMA", default_value = "unified,vendor", value_delimiter = ',')]
    pub names: Vec<Schema>,

    /// Also put who holds a device on its series under the vendor's names, as the vendor's exporter does: pod,
    /// namespace, container, vgpu and hpc_job, or pod_name and pod_namespace. Those series then change with every pod
    /// and job, and appear once for each holder of a shared device
    #[arg(long = "kubernetes.vendor-labels")]
    pub vendor_labels: bool,

    #[command(flatten)]
    pub choice: ChoiceFlags,
}

#[derive(Args)]
pub struct ChoiceFlags {
    /// Export these metrics only: names of the unified schema or of a vendor, in which * stands for any text and ?
    /// for any character. What nobody wants is not collected
    #[arg(long = "metrics.include", value_name = "PATTERN", value_delimiter = ',')]
    pub include: Vec<String>,

    /// Leave these metrics out, also where --metrics.include has them
    #[arg(long = "metrics.exclude", value_name = "PATTERN", value_delimiter = ',')]
    pub exclude: Vec<String>,

    /// The most series of a scrape. Metrics past it, in the order of docs/metrics.md, are left out whole, logged
    /// and counted
    #[arg(long = "max-series", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_series: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Schema {
    Unified,
    Vendor,
}

#[derive(Args)]
#[command(next_help_heading = "Incident mode")]
pub struct IncidentFlags {
    /// Let alerts and people switch on finer samples with POST /-/incident, which /debug/samples then has
    #[arg(id = "incident.enable", long = "incident.enable")]
    pub enable: bool,

    /// File with the token that a call must have; without it, users of the web configuration or clients on loopback
    #[arg(id = "incident.token-file", long = "incident.token-file", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Exporters to which an alert of another node is sent on with the same token, by plain HTTP: a host may have many
    /// addresses, such as a headless Service
    #[arg(
        id = "incident.peers",
        long = "incident.peers",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        requires = "incident.token-file",
        value_parser = peer
    )]
    pub peers: Vec<String>,

    /// The longest time that it is on, 1s to 24h
    #[arg(
        id = "incident.max", long = "incident.max",
        value_name = "DURATION",
        default_value = "30m",
        value_parser = incident_max
    )]
    pub max: Duration,

    /// Time between two fine samples of a device, 100ms to 10s
    #[arg(
        id = "incident.interval", long = "incident.interval",
        value_name = "DURATION",
        default_value = "250ms",
        value_parser = fine_interval
    )]
    pub interval: Duration,
}

#[derive(Args)]
#[command(next_help_heading = "Web")]
pub struct WebFlags {
    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "[::1] is an address, and the text is printed by --help"
    )]
    /// Where to listen: :9477, 127.0.0.1:9477, [::1]:9477 or unix:/run/accelscope.sock; repeatable
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = ":9477",
        value_delimiter = ',',
        value_parser = listen_address
    )]
    pub listen_addresses: Vec<ListenAddress>,

    /// Serve on the sockets that systemd passes, instead of --web.listen-address
    #[arg(long = "web.systemd-socket")]
    pub systemd_socket: bool,

    /// TLS, users, headers and a rate limit, in the format of Prometheus' exporter-toolkit; read again when it or
    /// a file that it names changes
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Protect /-/healthy and /-/ready like all other paths; without it the web configuration leaves them open
    #[arg(long = "web.protect-health")]
    pub protect_health: bool,

    /// Path of the metrics
    #[arg(
        long = "web.telemetry-path",
        value_name = "PATH",
        default_value = "/metrics",
        value_parser = request_path
    )]
    pub telemetry_path: String,

    /// Responses being sent at the same time; past it, a client that does not read is closed, else 503
    #[arg(
        long = "web.max-requests",
        value_name = "COUNT",
        default_value = "40",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_requests: u32,

    /// Open connections, a quarter of them for one client; past it, the oldest without a request is closed
    #[arg(
        long = "web.max-connections",
        value_name = "COUNT",
        default_value = "512",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_connections: u32,

    /// Time in which a client must send a whole request head, at most 1h
    #[arg(
        long = "web.header-timeout",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = timeout
    )]
    pub header_timeout: Duration,

    /// Time after which a connection without a request is closed, at most 1h
    #[arg(
        long = "web.idle-timeout",
        value_name = "DURATION",
        default_value = "2m",
        value_parser = timeout
    )]
    pub idle_timeout: Duration,
}

#[derive(Args)]
#[command(next_help_heading = "Kernel log")]
pub struct KernelLogFlags {
    /// Count the errors of devices that are in the kernel log, /dev/kmsg, beside those that their drivers announce; needs
    /// root or CAP_SYSLOG
    #[arg(long = "kernel-log", value_name = "PATH")]
    pub path: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "Letting go")]
pub struct DetachFlags {
    /// Let go of devices on POST /-/detach, and take them again on /-/attach: for users of the web configuration,
    /// whoever has the token, or, without either, clients of this host
    #[arg(id = "detach.enable", long = "detach.enable")]
    pub enable: bool,

    /// File with the token that /-/detach and /-/attach take as Authorization: Bearer
    #[arg(
        id = "detach.token-file",
        long = "detach.token-file",
        value_name = "FILE",
        requires = "detach.enable"
    )]
    pub token_file: Option<PathBuf>,
}
