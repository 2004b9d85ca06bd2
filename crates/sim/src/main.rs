//! Runs seeds, on all cores, until one breaks a law or its share is done.

use std::{
    env, fmt,
    process::ExitCode,
    str::FromStr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sim::{Broken, Laws, Order, Planted, Profile, Report, faults::KINDS, run};

const HELP: &str = "\
egret-sim [--seeds N] [--minutes M] [--first S] [--profile gentle|crash|rejoin|harsh] [--demand LAW]… [--all]
egret-sim --seed S [--profile …] [--demand LAW]…

Without a number of seeds or minutes it runs 500 seeds; --first says with which it begins (1), and --all has it
go on after a seed that breaks a law, and name each. --demand adds a law that is not true yet:
survives_crash, survives_rejoin, survives_overlap, survives_as_guest,
survives_stale_drain, loses_last_words, keeps_ports_at_once, agrees_on_ended, or reorders_control.
--planted puts a fault into gateways: anothers_ports, deaf_to_health, no_hand_over, no_gate, copies_expire, or
lost_epoch.
";

/// Seeds that are run when nobody says otherwise.
const SEEDS_DEFAULT: u64 = 500;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    laws: Laws,
    seed: Option<u64>,
    seeds: Option<u64>,
    minutes: Option<u64>,
    first: Option<u64>,
    profile: Option<Profile>,
    planted: Option<Planted>,
    /// Whether seeds are run on after one has broken a law.
    goes_on: bool,
}

fn main() -> ExitCode {
    let given: Vec<String> = env::args().skip(1).collect();
    let asked = match parse(&given) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(misuse) => {
            eprint!("egret-sim: {misuse}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let (sum, broken) = match asked.seed {
        Some(seed) => one(seed, &asked),
        None => many(&asked),
    };
    println!("{sum}");
    match broken {
        None => ExitCode::SUCCESS,
        Some(broken) => {
            println!("\n{broken}");
            ExitCode::FAILURE
        }
    }
}

fn parse(given: &[String]) -> Result<Option<Asked>, String> {
    let mut asked = Asked {
        laws: Laws::TODAY,
        seed: None,
        seeds: None,
        minutes: None,
        first: None,
        profile: None,
        planted: None,
        goes_on: false,
    };
    let mut rest = given.iter();
    while let Some(option) = rest.next() {
        if option == "--all" {
            asked.goes_on = true;
            continue;
        }
        let value = rest.next();
        match option.as_str() {
            "--help" | "-h" => return Ok(None),
            "--seed" => asked.seed = Some(number(option, value)?),
            "--seeds" => asked.seeds = Some(number(option, value)?),
            "--minutes" => asked.minutes = Some(number(option, value)?),
            "--first" => asked.first = Some(number(option, value)?),
            "--profile" => {
                let found = Profile::ALL
                    .into_iter()
                    .find(|it| Some(it.name()) == value.map(|it| &**it));
                asked.profile = Some(found.ok_or("there is no such profile")?);
            }
            "--planted" => {
                let found = Planted::ALL
                    .into_iter()
                    .find(|it| Some(it.name()) == value.map(|it| &**it));
                asked.planted = Some(found.ok_or("there is no such fault to plant")?);
            }
            "--demand" => {
                let laws = value.and_then(|it| asked.laws.demanding(it));
                asked.laws = laws.ok_or("there is no such law")?;
            }
            _ => return Err(format!("there is no option `{option}`")),
        }
    }
    Ok(Some(asked))
}

fn number<T: FromStr>(option: &str, value: Option<&String>) -> Result<T, String> {
    let value = value.and_then(|it| it.parse().ok());
    value.ok_or_else(|| format!("`{option}` wants a number"))
}

fn order(seed: u64, asked: &Asked) -> Order {
    Order {
        profile: asked.profile,
        laws: asked.laws,
        planted: asked.planted,
        ..Order::of(seed)
    }
}

fn one(seed: u64, asked: &Asked) -> (Sum, Option<Box<Broken>>) {
    let began = Instant::now();
    let mut sum = Sum::default();
    let broken = match run(&order(seed, asked)) {
        Ok(report) => {
            sum.add(&report);
            println!(
                "seed {seed} breaks no law; its digest is {:016x}",
                report.digest
            );
            None
        }
        Err(broken) => Some(broken),
    };
    sum.took = began.elapsed();
    (sum, broken)
}

/// Runs seeds on all cores; of several that break a law, the lowest is told.
fn many(asked: &Asked) -> (Sum, Option<Box<Broken>>) {
    let began = Instant::now();
    let until = asked.minutes.map(|it| began + Duration::from_secs(60 * it));
    let first = asked.first.unwrap_or(1);
    let seeds = match (asked.seeds, asked.minutes) {
        (Some(seeds), _) => seeds,
        (None, Some(_)) => u64::MAX - first,
        (None, None) => SEEDS_DEFAULT,
    };
    let next = AtomicU64::new(first);
    let is_broken = AtomicBool::new(false);
    let found = Mutex::new((Sum::default(), None::<Box<Broken>>));
    let work = || {
        while !is_broken.load(Ordering::Relaxed) && until.is_none_or(|at| Instant::now() < at) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed - first >= seeds {
                break;
            }
            let outcome = run(&order(seed, asked));
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(report) => found.0.add(&report),
                Err(broken) => {
                    if asked.goes_on {
                        println!("{}", broken.brief());
                    } else {
                        is_broken.store(true, Ordering::Relaxed);
                    }
                    let is_lower = found.1.as_ref().is_none_or(|it| broken.seed < it.seed);
                    if is_lower {
                        found.1 = Some(broken);
                    }
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let (mut sum, broken) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.took = began.elapsed();
    (sum, broken)
}

/// What all runs came to.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    connections: u64,
    proved: u64,
    packets: u64,
    faults: [u64; KINDS.len()],
    time: Duration,
    took: Duration,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.connections += report.connections;
        self.proved += report.proved;
        self.packets += report.packets;
        for (sum, more) in self.faults.iter_mut().zip(report.faults) {
            *sum += more;
        }
        self.time += report.time;
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds in {:.1} s, {:.1} hours of theirs",
            self.seeds,
            self.took.as_secs_f64(),
            self.time.as_secs_f64() / 3600.0
        )?;
        writeln!(
            f,
            "{} connections, {} of them without an excuse to fail; gateways took {} packets",
            self.connections, self.proved, self.packets
        )?;
        let faults = KINDS.iter().zip(self.faults);
        let faults: Vec<String> = faults
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        write!(f, "{}", faults.join(", "))
    }
}
