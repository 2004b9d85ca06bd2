//! BGP with those who are at the other end in the field: FRR, BIRD and GoBGP, as they are shipped.
//!
//! Each sentence is told of each of them, in a module by its name. `docs/operate/interop.md` is the table.

mod keys;
mod rubbish;
mod scene;
mod sentences;
mod unnumbered;

use lab::Brand;

/// Tells every sentence of every router.
macro_rules! interop {
    ($($sentence:ident)*) => {
        mod frr {
            $(#[test] fn $sentence() -> anyhow::Result<()> {
                crate::sentences::$sentence(crate::Brand::Frr)
            })*
        }
        mod bird {
            $(#[test] fn $sentence() -> anyhow::Result<()> {
                crate::sentences::$sentence(crate::Brand::Bird)
            })*
        }
        mod gobgp {
            $(#[test] fn $sentence() -> anyhow::Result<()> {
                crate::sentences::$sentence(crate::Brand::Gobgp)
            })*
        }
    };
}

interop! {
    routes_of_both_versions_come_with_what_is_said_of_them_and_go
    a_session_with_a_password_over_one_link
    whoever_calls_a_session_comes_up
    routes_stay_while_a_daemon_is_away_and_go_if_it_stays_away
    a_gateway_that_drains_asks_to_be_avoided_then_withdraws_then_says_goodbye
    a_link_that_loses_a_third_of_its_packets_is_enough
    a_router_that_falls_silent_is_missed_after_its_hold_time
}
