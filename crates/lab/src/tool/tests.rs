//! Missing programs are named with their packages.

use super::*;

#[test]
fn a_missing_program_is_reported_with_its_package() {
    let error = spawn_failure("nft", "nft -f -", io::ErrorKind::NotFound.into());

    assert_eq!(
        error.to_string(),
        "`nft` is not installed; type `apt-get install nftables`"
    );
}

#[test]
fn every_program_comes_with_a_package_that_is_installed() {
    for (program, package) in PROGRAMS {
        assert!(PACKAGES.contains(package), "{program} needs {package}");
    }
}

#[test]
fn a_failed_batch_names_the_line_that_failed() {
    assert_eq!(
        failed_line("RTNETLINK answers: File exists\nCommand failed -:12\n"),
        Some(12)
    );
    assert_eq!(failed_line("Cannot open network namespace"), None);
}
