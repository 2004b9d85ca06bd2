//! Malformed configurations, each with its problems beside it as a user sees them.
//!
//! `EGRET_BLESS=1 cargo test -p egret-gateway --test main` writes what is shown at present; read
//! the difference before you commit it.

use std::{fs, path::PathBuf};

macro_rules! malformed {
    ($($name:ident = $file:literal;)*) => {
        const FILES: &[&str] = &[$($file,)*];
        $(
            #[test]
            fn $name() {
                check($file);
            }
        )*
    };
}

malformed! {
    a_tab_in_the_indentation_is_named = "01-tab-indentation";
    an_unclosed_bracket_is_named = "02-unclosed-bracket";
    a_crooked_indentation_is_shown_where_it_is = "03-crooked-indentation";
    a_second_document_is_refused = "04-second-document";
    a_file_that_unfolds_to_a_million_values_is_refused = "05-alias-bomb";
    an_unknown_field_is_an_error_with_a_suggestion = "06-unknown-fields";
    every_missing_field_is_named = "07-missing-fields";
    a_value_of_the_wrong_kind_says_what_is_wanted = "08-wrong-kinds";
    a_field_given_twice_is_an_error = "09-given-twice";
    a_field_without_value_is_not_taken_for_absent = "10-values-left-out";
    a_name_that_no_interface_can_have_is_refused = "11-interface-names";
    a_realm_or_mode_that_does_not_exist_has_a_suggestion = "12-realms-and-modes";
    a_gateway_needs_both_realms = "13-no-way-out";
    a_bad_prefix_says_what_to_write = "14-prefixes";
    an_address_that_no_reply_can_reach_is_not_external = "15-unusable-external-addresses";
    an_address_belongs_to_one_pool_once = "16-address-in-two-pools";
    external_addresses_are_limited = "17-too-many-external-addresses";
    a_port_range_goes_forward_and_has_no_zero = "18-port-ranges";
    a_rule_has_either_a_pool_or_an_action = "19-pool-and-action";
    a_pool_that_does_not_exist_has_a_suggestion = "20-unknown-pool";
    names_are_used_once = "21-names-used-twice";
    what_was_translated_is_not_translated_again = "22-translation-loop";
    a_service_is_a_protocol_and_numbers = "23-services";
    a_duration_has_units_and_bounds = "24-durations";
    the_flow_table_has_bounds = "25-flow-limit";
    the_flow_table_has_a_number = "26-flow-limit-with-a-unit";
    paths_begin_at_the_root = "27-paths";
    metrics_are_served_on_an_address_and_a_port = "28-metrics-address";
    a_name_is_a_dns_label = "29-names";
    an_empty_list_means_neither_all_nor_nothing = "30-empty-lists";
    warnings_are_shown_beside_errors = "31-warnings-beside-an-error";
    an_empty_file_is_no_configuration = "32-empty-file";
    a_list_is_no_configuration = "33-not-fields";
    merge_keys_are_refused = "34-merge-key";
    a_colon_in_a_value_wants_quotes = "35-value-with-a-colon";
    an_escape_sequence_never_reaches_the_terminal = "36-escape-sequences";
    a_character_that_cannot_be_seen_is_named = "37-invisible-character";
    what_cannot_be_read_is_not_blamed_on_others = "38-consequences";
    an_unclosed_quote_is_named = "39-unclosed-quote";
    too_many_levels_are_refused = "40-nested-too-deeply";
    a_lost_colon_is_guessed = "41-lost-colon";
    an_alias_needs_its_anchor_above = "42-unknown-anchor";
    a_tag_means_nothing = "43-tag";
    a_behaviour_that_does_not_exist_has_a_suggestion = "44-behaviours";
    a_timeout_of_a_service_is_for_ports = "45-services";
    a_quota_is_a_number_of_something = "48-quotas";
    a_session_log_says_which_value_is_wrong = "61-session-log";
    a_session_log_needs_a_place_and_an_event = "62-session-log-nowhere";
    receivers_are_addresses_and_ports = "63-session-log-receivers";
    what_a_port_is_cannot_be_said_twice = "64-shared-ports";
    overloaded_addresses_are_limited = "65-too-many-overloaded";
    a_forward_says_from_where_to_where = "66-forwards";
    an_external_port_leads_to_one_place = "67-forwarded-twice";
    forwarded_ports_leave_room_for_others = "68-too-many-forwards";
    a_prefix_of_nat64_has_one_of_six_lengths_and_is_nobody_elses = "70-nat64";
    a_pool_has_addresses_of_the_version_that_its_rules_want = "71-versions";
    without_nat64_ipv6_clients_do_not_reach_ipv4_targets = "72-versions-without-nat64";
    blocks_suffice_for_their_clients_and_have_a_size = "73-blocks";
    only_three_protocols_are_translated_by_address_and_none_is_forwarded = "74-by-address";
    an_endpoint_leads_somebody_from_an_address_of_its_own_to_a_target = "75-endpoints";
    a_forward_leads_to_a_host_that_its_callers_can_reach = "76-forwards-to-ipv6";
    a_peer_is_somewhere_of_some_system_and_is_told_what_there_is = "77-bgp";
    a_session_of_bfd_has_timers_that_a_machine_can_keep = "78-bfd";
    a_cluster_has_members_with_addresses_of_their_own_and_this_is_one = "79-cluster";
    a_cluster_of_one_is_none = "80-cluster-of-one";
    flows_are_copied_by_a_port_with_certificates_from_files = "81-cluster-copies";
    keys_of_tcp_ao_have_numbers_algorithms_and_files_and_no_password_beside_them = "83-tcp-ao";
}

#[test]
fn every_malformed_file_is_tested() {
    let mut found: Vec<String> = fs::read_dir(path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    found.sort();

    assert_eq!(found, FILES);
}

/// What `gateway::intent` says about a file must be what stands beside it.
#[track_caller]
fn check(name: &str) {
    let text = fs::read_to_string(path(&format!("{name}.yaml"))).unwrap();
    let problems = gateway::intent::parse(&format!("{name}.yaml"), &text).unwrap_err();
    let shown = format!("{problems}\n");

    let beside = path(&format!("{name}.stderr"));
    if std::env::var_os("EGRET_BLESS").is_some() {
        fs::write(&beside, &shown).unwrap();
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    assert!(
        shown == expected,
        "{name} is shown differently; EGRET_BLESS=1 accepts it\n--- expected\n{expected}\n--- shown\n{shown}"
    );
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "malformed", name]
        .iter()
        .collect()
}
