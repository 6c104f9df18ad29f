//! `spandrel doctor`: what would hurt a node on this machine.
//!
//! ```text
//! ok    clock      synchronised, epsilon 1.2 ms
//!                  why: a commit waits until its timestamp has passed on every clock ...
//! bad   port 7420  in use by another program
//!                  why: ...
//!                  do:  stop it, or choose another port with --listen
//! ```
//! What is measured is in `measure`; what it means is decided here, without looking at the machine.
//!
//! Not here: the network between nodes.

mod measure;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use truetime::{KernelReport, SystemClock};

use super::{Failure, print, runtime};
use measure::{Disk, Memory, Port, Syncs};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The data directory of the node that is to run here; it need not exist yet.
    #[arg(long, env = "SPANDREL_DATA_DIR", default_value = ".")]
    data_dir: PathBuf,
    /// The gRPC address that the node is to listen on.
    #[arg(long, env = "SPANDREL_LISTEN", default_value = "127.0.0.1:7420")]
    listen: String,
    /// The HTTP address that the node is to listen on.
    #[arg(long, env = "SPANDREL_HTTP", default_value = "127.0.0.1:7480")]
    http: String,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Connections, peers and the version store's files of one node need about so many.
const FILES_WANTED: u64 = 16_384;
const FILES_NEEDED: u64 = 1_024;
const MEMORY_WANTED: u64 = 2 * GIB;
const MEMORY_NEEDED: u64 = 512 * MIB;
const SPACE_WANTED: u64 = 10 * GIB;
/// Ballast, two segments of the log, and the watermark below which new work is refused.
const SPACE_NEEDED: u64 = GIB;
const EPSILON_WANTED: Duration = Duration::from_millis(10);
/// Above this a commit across the world is faster than its wait.
const EPSILON_USABLE: Duration = Duration::from_millis(250);
const SYNC_WANTED: Duration = Duration::from_millis(10);
/// A node whose disk stalls for two seconds gives up its leases; half of that is close.
const SYNC_USABLE: Duration = Duration::from_secs(1);
/// No device is that fast: it answers before the data is safe.
const SYNC_UNBELIEVABLE: Duration = Duration::from_micros(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Bad,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    subject: String,
    found: String,
    why: &'static str,
    /// Empty when it is ok.
    advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Bad => "bad",
        };
        writeln!(f, "{verdict:<5} {:<12} {}", self.subject, self.found)?;
        writeln!(f, "{:18} why: {}", "", self.why)?;
        if !self.advice.is_empty() {
            writeln!(f, "{:18} do:  {}", "", self.advice)?;
        }
        Ok(())
    }
}

pub(super) fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let mut bad = 0_u32;
    let mut show = |finding: Finding| {
        bad += u32::from(finding.verdict == Verdict::Bad);
        print(&finding.to_string())
    };
    show(clock(&SystemClock::ask_kernel()))?;
    show(syncs(&measure::syncs(&args.data_dir)))?;
    show(space(&measure::disk(&args.data_dir)))?;
    show(files(measure::files()))?;
    show(cores(measure::cores()))?;
    show(memory(measure::memory()))?;
    let ports = [("listen", &args.listen), ("http", &args.http)];
    let runtime = runtime()?;
    for (flag, address) in ports {
        show(port(flag, address, &runtime.block_on(measure::port(address))))?;
    }
    match bad {
        0 => Ok(()),
        1 => Err(Failure::run_time("one thing here is bad")),
        count => Err(Failure::run_time(format!("{count} things here are bad"))),
    }
}

/// How much of something is wanted, and below how much nothing works.
fn at_least(found: u64, wanted: u64, needed: u64) -> Verdict {
    match found {
        found if found >= wanted => Verdict::Ok,
        found if found >= needed => Verdict::Warn,
        _ => Verdict::Bad,
    }
}

fn clock(report: &Result<KernelReport, String>) -> Finding {
    let (verdict, found, advice) = match report {
        Err(reason) => {
            let found = format!("the kernel does not say how wrong it may be: {reason}");
            (
                Verdict::Bad,
                found,
                "allow ntp_adjtime in this sandbox, or start with --clock fixed:<epsilon> if \
                                   you can vouch for the bound yourself",
            )
        }
        Ok(report) if !report.synchronised => (
            Verdict::Bad,
            "not synchronised: no daemon tells the kernel how wrong its clock may be".to_owned(),
            "run chrony (or ntpd, or ptp4l with phc2sys) on this machine, or on its host if this is a container; \
             or start with --clock fixed:<epsilon> if you can vouch for the bound yourself (docs/time.md)",
        ),
        Ok(report) => {
            let epsilon = report.maxerror + report.pending + report.resolution;
            let found = format!(
                "synchronised, epsilon about {epsilon:.1?} (the kernel's maximum error {:.1?}, a correction of {:.1?} pending)",
                report.maxerror, report.pending
            );
            let near = "use servers that are nearer, or poll them more often (docs/time.md)";
            if epsilon <= EPSILON_WANTED {
                (Verdict::Ok, found, "")
            } else if epsilon <= EPSILON_USABLE {
                (Verdict::Warn, found, near)
            } else {
                (Verdict::Bad, found, near)
            }
        }
    };
    Finding {
        verdict,
        subject: "clock".to_owned(),
        found,
        why: "a commit takes up to twice epsilon, and a node that cannot vouch for its clock assigns no timestamps",
        advice: advice.to_owned(),
    }
}

fn syncs(syncs: &Result<Syncs, String>) -> Finding {
    let (verdict, found, advice) = match syncs {
        Err(reason) => {
            (Verdict::Bad, reason.clone(), "give --data-dir a directory that can be written to")
        }
        Ok(Syncs { p50, p99, in_memory, .. }) if *in_memory => (
            Verdict::Warn,
            format!("in memory: p50 {p50:.1?}, p99 {p99:.1?}"),
            "put the data directory on a disk: what is here is gone after a restart of the machine",
        ),
        Ok(Syncs { p50, p99, count, .. }) => {
            let found = format!("p50 {p50:.1?}, p99 {p99:.1?} of {count} syncs of 4 KiB");
            if *p50 < SYNC_UNBELIEVABLE {
                let advice = "find out whether the file system or the device ignores syncs, as some do in virtual \
                              machines: what was acknowledged would be lost with the power";
                (Verdict::Warn, found, advice)
            } else if *p99 <= SYNC_WANTED {
                (Verdict::Ok, found, "")
            } else if *p99 <= SYNC_USABLE {
                let advice = "use a faster disk, or one that nothing else writes to";
                (Verdict::Warn, found, advice)
            } else {
                let advice = "use another disk: at stalls of 2 s a node gives up what it leads";
                (Verdict::Bad, found, advice)
            }
        }
    };
    Finding {
        verdict,
        subject: "disk syncs".to_owned(),
        found,
        why: "every commit waits for a sync of the log on a majority of its replicas",
        advice: advice.to_owned(),
    }
}

fn space(disk: &Result<Disk, String>) -> Finding {
    let (verdict, found) = match disk {
        Err(reason) => (Verdict::Bad, reason.clone()),
        Ok(Disk { free, size }) => {
            let verdict = at_least(*free, SPACE_WANTED, SPACE_NEEDED);
            (verdict, format!("{} free of {}", bytes(*free), bytes(*size)))
        }
    };
    Finding {
        verdict,
        subject: "disk space".to_owned(),
        found,
        why: "a node keeps its log, its versions and 128 MiB in reserve, and refuses writes before the disk is full",
        advice: advice(verdict, "make room, or choose another --data-dir"),
    }
}

fn files(limit: Option<u64>) -> Finding {
    let verdict = limit.map_or(Verdict::Ok, |limit| at_least(limit, FILES_WANTED, FILES_NEEDED));
    Finding {
        verdict,
        subject: "open files".to_owned(),
        found: limit.map_or_else(|| "no limit".to_owned(), |limit| format!("{limit} at most")),
        why: "connections (up to 10,000) and the files of the version store count against it",
        advice: advice(
            verdict,
            "raise it: ulimit -n 65536, or LimitNOFILE=65536 in the unit of systemd",
        ),
    }
}

fn cores(cores: u64) -> Finding {
    let verdict = at_least(cores, 2, 1);
    Finding {
        verdict,
        subject: "cores".to_owned(),
        found: cores.to_string(),
        why: "each core of a node is one thread, and the log's syncs need some of another",
        advice: advice(
            verdict,
            "give the node a second core, if it is to do more than little work",
        ),
    }
}

fn memory(memory: Result<Memory, String>) -> Finding {
    let (verdict, found) = match memory {
        Err(reason) => (Verdict::Warn, reason),
        Ok(Memory { available, total }) => {
            let verdict = at_least(available, MEMORY_WANTED, MEMORY_NEEDED);
            (verdict, format!("{} available of {}", bytes(available), bytes(total)))
        }
    };
    Finding {
        verdict,
        subject: "memory".to_owned(),
        found,
        why: "caches of the version store, and the buffered writes of transactions (up to 64 MiB each)",
        advice: advice(verdict, "give the node more, so that the system does not kill it"),
    }
}

fn port(flag: &str, address: &str, port: &Result<Port, String>) -> Finding {
    let number = address.rsplit_once(':').map_or(address, |(_, port)| port);
    let (verdict, found, advice) = match port {
        Ok(Port::Free) => (Verdict::Ok, format!("{address} is free"), String::new()),
        Ok(Port::Ours) => (Verdict::Ok, format!("a node answers at {address}"), String::new()),
        Ok(Port::Taken) => (
            Verdict::Bad,
            format!("{address} is in use by another program"),
            format!("stop it, or choose another port with --{flag}"),
        ),
        Err(reason) => (
            Verdict::Bad,
            format!("{address}: {reason}"),
            format!("give --{flag} an address of this machine"),
        ),
    };
    Finding {
        verdict,
        subject: format!("port {number}"),
        found,
        why: "a node that cannot listen does not start",
        advice,
    }
}

fn advice(verdict: Verdict, words: &str) -> String {
    match verdict {
        Verdict::Ok => String::new(),
        Verdict::Warn | Verdict::Bad => words.to_owned(),
    }
}

fn bytes(count: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = count / (unit / 10);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match count {
        count if count >= GIB => format!("{} GiB", tenths(GIB)),
        count if count >= MIB => format!("{} MiB", tenths(MIB)),
        count => format!("{} KiB", count / KIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(synchronised: bool, maxerror_us: u64) -> Result<KernelReport, String> {
        Ok(KernelReport {
            synchronised,
            maxerror: Duration::from_micros(maxerror_us),
            pending: Duration::ZERO,
            resolution: Duration::from_nanos(1),
        })
    }

    fn disk(p50_us: u64, p99_us: u64) -> Result<Syncs, String> {
        let (p50, p99) = (Duration::from_micros(p50_us), Duration::from_micros(p99_us));
        Ok(Syncs { p50, p99, count: 300, in_memory: false })
    }

    #[test]
    fn clock_is_judged_by_what_it_vouches_for() {
        assert_eq!(clock(&kernel(true, 300)).verdict, Verdict::Ok);
        assert_eq!(clock(&kernel(true, 50_000)).verdict, Verdict::Warn);
        assert_eq!(clock(&kernel(true, 500_000)).verdict, Verdict::Bad);
        assert_eq!(clock(&kernel(false, 300)).verdict, Verdict::Bad);
        assert_eq!(clock(&Err("denied".to_owned())).verdict, Verdict::Bad);
    }

    #[test]
    fn syncs_are_judged_by_their_tail_and_not_believed_when_too_fast() {
        assert_eq!(syncs(&disk(400, 2_000)).verdict, Verdict::Ok);
        assert_eq!(syncs(&disk(400, 50_000)).verdict, Verdict::Warn);
        assert_eq!(syncs(&disk(400, 2_000_000)).verdict, Verdict::Bad);
        assert_eq!(syncs(&disk(1, 2)).verdict, Verdict::Warn);
        let in_memory = disk(400, 2_000).map(|syncs| Syncs { in_memory: true, ..syncs });
        assert_eq!(syncs(&in_memory).verdict, Verdict::Warn);
        assert_eq!(syncs(&Err("denied".to_owned())).verdict, Verdict::Bad);
    }

    #[test]
    fn amounts_are_judged_by_what_is_wanted_and_what_is_needed() {
        assert_eq!(files(None).verdict, Verdict::Ok);
        assert_eq!(files(Some(1_024)).verdict, Verdict::Warn);
        assert_eq!(files(Some(256)).verdict, Verdict::Bad);
        assert_eq!(cores(1).verdict, Verdict::Warn);
        let found = space(&Ok(Disk { free: 3 * GIB / 2, size: 100 * GIB }));
        assert_eq!(
            (found.verdict, found.found.as_str()),
            (Verdict::Warn, "1.5 GiB free of 100.0 GiB")
        );
        let found = memory(Ok(Memory { available: 100 * MIB, total: GIB }));
        assert_eq!(found.verdict, Verdict::Bad);
    }

    #[test]
    fn only_what_is_not_ok_has_advice() {
        let free = port("listen", "127.0.0.1:7420", &Ok(Port::Free)).to_string();
        assert!(free.starts_with("ok    port 7420    127.0.0.1:7420 is free\n"), "{free}");
        assert!(free.contains("why: ") && !free.contains("do:  "), "{free}");
        let taken = port("listen", "127.0.0.1:7420", &Ok(Port::Taken)).to_string();
        assert!(taken.starts_with("bad ") && taken.contains("do:  stop it"), "{taken}");
    }
}
