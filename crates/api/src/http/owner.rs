//! Which member of a cluster serves a flow.

use serde::{Deserialize, Serialize};

use super::Flow;

/// Whose flow is asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct OwnerQuery {
    /// Protocol, source and destination of any packet of the flow, as for a flow; or an external address and
    /// port. There need not be such a flow.
    #[cfg_attr(
        feature = "openapi",
        param(example = "tcp 10.0.0.1:4242 198.51.100.9:5432")
    )]
    pub tuple: String,
}

/// Which member of a cluster serves a flow, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Owner {
    /// The bucket that the flow is in.
    pub bucket: u8,
    /// Why it is in that one.
    pub because: String,
    /// The member that owns the bucket: it serves the flow, or begins it. Absent while that is not known.
    pub owner: Option<String>,
    /// The member that held the bucket before, and still serves the flows that it has; absent if there is none.
    pub before: Option<String>,
    /// `serves`: the gateway that was asked has the flow and serves it; `copy`: it keeps it for another;
    /// `absent`: it has no such flow.
    pub here: String,
    /// The flow, if the gateway that was asked has it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flow: Option<Flow>,
    /// The members in the order in which they own the bucket; none where a gateway is alone.
    pub members: Vec<OwnerMember>,
}

/// A member, in the order of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OwnerMember {
    /// Its name.
    pub name: String,
    /// How it stands, in the words of `cluster`.
    pub state: String,
    /// What it has to do with the flow, and why.
    pub why: String,
}
