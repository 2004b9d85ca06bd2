//! What describes the interfaces themselves: the OpenAPI document, completions, manual pages.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use api::http::path;
use serde_json::Value;

use crate::{POLICY, egret, launched};

#[test]
fn the_openapi_document_is_served_and_names_every_path() -> Result<()> {
    let (_site, gateway) = launched("openapi")?;

    let answer = gateway.http().get(path::OPENAPI)?;
    let document: Value = answer.json()?;

    let version = document["openapi"]
        .as_str()
        .context("a version of OpenAPI")?;
    assert!(version.starts_with("3."), "{version}");
    let paths = document["paths"].as_object().context("paths")?;
    for known in [
        path::STATUS,
        path::FLOWS,
        path::POOLS,
        path::DROPS,
        path::COUNTERS,
        path::CONFIG,
        path::OPENAPI,
        path::METRICS,
    ] {
        assert!(paths.contains_key(known), "{known} is not in the document");
    }
    // What it promises is there: no path answers that it does not exist.
    for (name, operations) in paths {
        let wants_more = [path::FLOW, path::WHO, path::OWNER].contains(&name.as_str());
        let is_asked_without_more = !wants_more && operations.get("get").is_some();
        if is_asked_without_more {
            let answer = gateway.http().get(name)?;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        }
    }
    // The one in the repository is the one that is served.
    let stored = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let stored: Value = serde_json::from_str(&fs::read_to_string(stored)?)?;
    assert_eq!(document, stored);
    gateway.finish()
}

#[test]
fn what_is_asked_wrongly_is_answered_with_what_to_do() -> Result<()> {
    let (_site, gateway) = launched("wrong")?;
    let http = gateway.http();

    for (method, target, body, status) in [
        ("GET", "/v1/nothing", &b""[..], 404),
        ("GET", "/", b"", 404),
        ("POST", path::STATUS, b"", 405),
        ("DELETE", path::CONFIG, b"", 405),
        ("GET", "/v1/flows?client=nobody", b"", 400),
        ("GET", "/v1/flows?colour=red", b"", 400),
        ("GET", "/v1/flows?limit=-1", b"", 400),
        ("POST", path::CONFIG, b"{", 400),
        ("POST", path::CONFIG, b"{\"file\": \"x\"}", 400),
        (
            "POST",
            path::CONFIG,
            b"{\"file\": \"x\", \"text\": \"\"}",
            422,
        ),
    ] {
        let answer = http.exchange(method, target, body)?;
        println!(
            "{method} {target}: {} {}",
            answer.status,
            answer.text().trim()
        );
        assert_eq!(
            answer.status,
            status,
            "{method} {target}: {}",
            answer.text()
        );
        let said: Value = serde_json::from_slice(&answer.body)
            .with_context(|| format!("{method} {target}: {}", answer.text()))?;
        assert!(said.is_object(), "{said}");
    }
    gateway.finish()
}

#[test]
fn completions_and_manual_pages_are_printed_without_a_daemon() -> Result<()> {
    let (_site, mut gateway) = launched("manual")?;
    gateway.stop()?;

    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = egret(&gateway, 0, &["completions", shell])?.out;
        assert!(
            script.contains("counters") && script.contains("dry-run"),
            "{shell}"
        );
    }
    let page = egret(&gateway, 0, &["man"])?.out;
    assert!(page.contains(".TH egret"), "{page}");
    let folder = gateway.config_path().with_file_name("man");
    fs::create_dir(&folder)?;
    egret(
        &gateway,
        0,
        &["man", "--out", &folder.display().to_string()],
    )?;
    let pages = fs::read_dir(&folder)?.count();
    assert!(pages >= 13, "{pages} pages");
    gateway.finish()
}

/// Who scrapes must not be able to change anything.
#[test]
fn the_address_of_the_metrics_serves_nothing_else() -> Result<()> {
    let (site, mut gateway) = launched("metrics")?;
    let gw = site.host("gw")?;
    gateway.write_policy(&format!(
        "{POLICY}metrics: {{listen: \"127.0.0.1:9469\"}}\n"
    ))?;
    gateway.restart()?;

    let page = gw.curl("http://127.0.0.1:9469/metrics")?;

    assert!(page.contains("egret_build_info{"), "{page}");
    for target in [path::STATUS, path::FLOWS, path::CONFIG, path::OPENAPI, "/"] {
        let refused = gw.curl(&format!("http://127.0.0.1:9469{target}"));
        let error = refused.expect_err("only metrics are served there");
        assert!(error.to_string().contains("404"), "{error}");
    }
    // An address that is taken is a reason not to start, and is named.
    gateway.stop()?;
    let taken = gw.enter(|| std::net::TcpListener::bind("127.0.0.1:9469"))??;
    let output = gateway.run_egretd(&[])?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    println!("{}", complaint.trim());
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("127.0.0.1:9469"), "{complaint}");
    drop(taken);
    gateway.finish()
}
