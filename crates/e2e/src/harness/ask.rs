//! Asking the gateway under test: by its HTTP API, and by the `egret` command as people do.

use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use api::http::{
    Applied, ApplyRequest, Counters, Drops, Exit, Flow, Flows, FlowsQuery, Pool, PoolAddress,
    Pools, Status, path,
};
use serde::de::DeserializeOwned;

use super::{Answer, Gateway, HttpClient, program};

impl Gateway {
    /// A client of the daemon's HTTP API.
    pub fn http(&self) -> HttpClient {
        HttpClient::new(self.socket())
    }

    /// `GET /v1/status`.
    pub fn status(&self) -> Result<Status> {
        self.http().get(path::STATUS)?.json()
    }

    /// `GET /v1/flows`, those that match.
    pub fn flows(&self, query: &FlowsQuery) -> Result<Flows> {
        let query = query_string(query)?;
        self.http().get(&format!("{}{query}", path::FLOWS))?.json()
    }

    /// `GET /v1/flows`, all of them.
    pub fn all_flows(&self) -> Result<Flows> {
        self.flows(&FlowsQuery::default())
    }

    /// Counts the flows without listing them.
    pub fn count_flows(&self) -> Result<u64> {
        let query = FlowsQuery {
            limit: Some(0),
            ..FlowsQuery::default()
        };
        Ok(self.flows(&query)?.total)
    }

    /// The one flow that matches.
    pub fn only_flow(&self, query: &FlowsQuery) -> Result<Flow> {
        let found = self.flows(query)?.flows;
        match <[Flow; 1]>::try_from(found) {
            Ok([flow]) => Ok(flow),
            Err(found) => bail!("{} flows match {query:?}, not one: {found:#?}", found.len()),
        }
    }

    /// `GET /v1/pools`.
    pub fn pools(&self) -> Result<Pools> {
        self.http().get(path::POOLS)?.json()
    }

    /// One pool.
    pub fn pool(&self, name: &str) -> Result<Pool> {
        let pools = self.pools()?.pools;
        pools
            .into_iter()
            .find(|pool| pool.name == name)
            .with_context(|| format!("the gateway has no pool {name}"))
    }

    /// One external address, of whatever pool.
    pub fn external(&self, address: &str) -> Result<PoolAddress> {
        let addresses = self
            .pools()?
            .pools
            .into_iter()
            .flat_map(|pool| pool.addresses);
        addresses
            .into_iter()
            .find(|it| it.address.to_string() == address)
            .with_context(|| format!("the gateway has no external address {address}"))
    }

    /// `GET /v1/drops`.
    pub fn drops(&self) -> Result<Drops> {
        self.http().get(path::DROPS)?.json()
    }

    /// `GET /v1/counters`.
    pub fn counters(&self) -> Result<Counters> {
        self.http().get(path::COUNTERS)?.json()
    }

    /// What took one way out of the packet path, by its name: `ports_exhausted`.
    pub fn counter(&self, reason: &str) -> Result<Exit> {
        let counters = self.counters()?.counters;
        counters
            .into_iter()
            .find(|exit| exit.reason == reason)
            .with_context(|| format!("the gateway has no counter {reason}"))
    }

    /// `GET /metrics`.
    pub fn metrics(&self) -> Result<String> {
        let answer = self.http().get(path::METRICS)?;
        if answer.status != 200 {
            bail!("/metrics answered {}: {}", answer.status, answer.text());
        }
        Ok(answer.text())
    }

    /// The value of one sample, named as it stands in the text, labels included:
    /// `egret_flows{protocol="tcp"}`.
    pub fn metric(&self, sample: &str) -> Result<f64> {
        let metrics = self.metrics()?;
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        let value = value.with_context(|| format!("there is no {sample} in\n{metrics}"))?;
        value
            .parse()
            .with_context(|| format!("{sample} is {value}, which is no number"))
    }

    /// `POST /v1/config`: puts a policy in force without touching the daemon's file. The answer may
    /// be a no, see [`Answer::refusal`].
    pub fn try_apply(&self, policy: &str) -> Result<Answer> {
        self.post_config(&ApplyRequest {
            file: "applied.yaml".to_owned(),
            text: self.full_config(policy),
            dry_run: false,
            save: false,
        })
    }

    /// Like [`try_apply`](Self::try_apply), but a no is an error.
    pub fn apply(&self, policy: &str) -> Result<Applied> {
        self.try_apply(policy)?.json()
    }

    /// Sends any request to change the configuration.
    pub fn post_config(&self, request: &ApplyRequest) -> Result<Answer> {
        let body = serde_json::to_vec(request).context("cannot write the request as JSON")?;
        self.http().post(path::CONFIG, &body)
    }

    /// Runs `egret` against this gateway to its end, whatever that is. It is not on a terminal, so
    /// there are no colours.
    pub fn run_egret(&self, args: &[&str]) -> Result<Output> {
        let mut egret = Command::new(program("egret")?);
        egret.arg("--socket").arg(self.socket()).args(args);
        egret
            .output()
            .with_context(|| format!("cannot run {egret:?}"))
    }

    /// Runs `egret`, which has to succeed, and returns what it printed.
    pub fn egret(&self, args: &[&str]) -> Result<String> {
        let output = self.run_egret(args)?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`egret {}` failed ({}): {stderr}",
                args.join(" "),
                output.status
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `egret --json` and reads what it printed.
    pub fn egret_json<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T> {
        let printed = self.egret(&[&["--json"], args].concat())?;
        serde_json::from_str(&printed)
            .with_context(|| format!("`egret --json {}` printed no such JSON", args.join(" ")))
    }
}

/// Writes a query as the tail of a target. Every value is made of what may stand in a query as it
/// is (RFC 3986 §3.4): words, addresses, prefixes and ports.
fn query_string(query: &FlowsQuery) -> Result<String> {
    let fields = serde_json::to_value(query).context("cannot write the query")?;
    let fields = fields.as_object().context("a query is an object")?;
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}={text}"),
            None => format!("{name}={value}"),
        })
        .collect();
    Ok(if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    })
}
