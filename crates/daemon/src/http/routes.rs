//! What stands under which path: the routes, and with them the OpenAPI document.

use std::{sync::Arc, time::Duration};

use abi::limits::POOLS_MAX;
use api::{
    Problems,
    http::{
        ApiError, Applied, ApplyRequest, Bfd, Bgp, BgpRequest, Cluster, Counters, Drain, Drops,
        Flow, FlowQuery, Flows, FlowsQuery, Mapping, MappingRequest, Mappings, Owner, OwnerQuery,
        Pools, Status, Who, WhoQuery, WithdrawQuery, path,
    },
};
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{Method, StatusCode, Uri, header},
    middleware,
    response::IntoResponse,
    routing::get,
};
use gateway::mappings::{Denied, Granted};
use kernel::Tables;
use tokio::{sync::oneshot, task::spawn_blocking, time::timeout};
use utoipa::{OpenApi as _, openapi::OpenApi};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{
        ReadError, cluster, exits, flows, mappings, owner, pools, routing, selection::Selection,
        status, tuple, who,
    },
    metrics::{self, Readings},
    replication,
    routing::{Order, Picture},
    sessions::Clock,
    view::{Command, Refused, Reply, Shared, View},
    ways,
};

use super::{
    failure::{self, Failure},
    listing::{self, Lists},
    request::{self, Asked},
};

/// How long a client is kept waiting for the driver. One that hears nothing for half a minute
/// gives up, and then does not know either.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(25);

/// What every handler has.
#[derive(Clone)]
struct Context {
    shared: Shared,
    lists: Lists,
    document: Arc<str>,
}

/// What the unix socket serves.
pub fn api(shared: Shared) -> Router {
    let (router, document) = documented().split_for_parts();
    finished(router, shared, json_of(&document))
}

/// What the metrics' address serves: nothing that anybody could not know.
pub fn metrics(shared: Shared) -> Router {
    let router = Router::new()
        .route(path::METRICS, get(show_metrics))
        .route(path::HEALTHY, get(healthy))
        .route(path::READY, get(ready));
    finished(router, shared, String::new())
}

/// The OpenAPI document, as it is served and as `docs/openapi.json` has it.
pub fn document() -> String {
    json_of(&documented().into_openapi())
}

fn json_of(document: &OpenApi) -> String {
    let mut json = document
        .to_pretty_json()
        .expect("invariant: a document has text for keys");
    json.push('\n');
    json
}

fn finished(router: Router<Context>, shared: Shared, document: String) -> Router {
    router
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn(failure::log))
        .with_state(Context {
            shared,
            lists: Lists::default(),
            document: document.into(),
        })
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "egretd",
        version = "1",
        description = "The API of one gateway, on its unix socket. Within version 1 fields and \
                       paths are added, never renamed or removed; whoever reads a body ignores \
                       what it does not know.",
    ),
    tags(
        (name = "see", description = "What the gateway does."),
        (name = "change", description = "What it is to do."),
        (name = "watch", description = "For programs that watch it; `metrics.listen` serves these \
                                        over TCP, and nothing else."),
    ),
)]
struct Document;

/// What every path may answer instead.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it is only there to be documented")]
enum Refusals {
    /// It was not served: why, and what to do.
    #[response(status = "default")]
    Any(ApiError),
}

fn documented() -> OpenApiRouter<Context> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(show_status))
        .routes(routes!(list_flows))
        .routes(routes!(find_flow))
        .routes(routes!(ask_who))
        .routes(routes!(show_pools))
        .routes(routes!(list_mappings, ask_for_mapping, withdraw_mapping))
        .routes(routes!(show_bgp, ask_bgp))
        .routes(routes!(show_bfd))
        .routes(routes!(show_cluster))
        .routes(routes!(show_owner))
        .routes(routes!(show_drain, drain, undrain))
        .routes(routes!(show_drops))
        .routes(routes!(show_counters))
        .routes(routes!(show_config, apply_config))
        .routes(routes!(show_document))
        .routes(routes!(show_metrics))
        .routes(routes!(healthy))
        .routes(routes!(ready))
}

/// How the gateway is
///
/// Configuration, interfaces, numbers of flows, expiry.
#[utoipa::path(get, path = path::STATUS, tag = "see", responses(
    (status = 200, body = Status, description = "How the gateway is."),
    Refusals,
))]
async fn show_status(State(context): State<Context>) -> Json<Status> {
    let Shared { tables, .. } = &context.shared;
    Json(status::status(tables, &context.shared.view()))
}

/// List flows
///
/// The list is made while it is sent, and may be long. A list that is not read to its end is not
/// whole: the connection then breaks off.
#[utoipa::path(get, path = path::FLOWS, tag = "see", params(FlowsQuery), responses(
    (status = 200, body = Flows, description = "The flows that matched."),
    (status = 400, body = ApiError, description = "The query cannot be understood."),
    (status = 503, body = ApiError, description = "Too many others list flows."),
    Refusals,
))]
async fn list_flows(
    State(context): State<Context>,
    Asked(query): Asked<FlowsQuery>,
) -> Result<impl IntoResponse, Failure> {
    let selection = Selection::parse(&query)
        .map_err(|ApiError { error, help }| Failure::misasked(error, help))?;
    known_pool(&context.shared.view(), query.pool.as_deref())?;
    let body = listing::list(context.shared, &context.lists, selection).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
}

/// Refuses a name that no pool has: an empty list would look like a pool at rest.
fn known_pool(view: &View, asked: Option<&str>) -> Result<(), Failure> {
    let names = || (0..POOLS_MAX as u8).filter_map(|number| view.numbers.pool_name(number));
    match asked {
        Some(name) if !names().any(|known| known == name) => Err(Failure::misasked(
            format!("there is no pool `{name}`"),
            format!("the pools are: {}", names().collect::<Vec<_>>().join(", ")),
        )),
        _ => Ok(()),
    }
}

/// Show one flow
///
/// Found by the tuple of any of its packets: on their way out or back, before or after translation.
#[utoipa::path(get, path = path::FLOW, tag = "see", params(FlowQuery), responses(
    (status = 200, body = Flow, description = "The flow, both directions."),
    (status = 400, body = ApiError, description = "The tuple cannot be understood."),
    (status = 404, body = ApiError, description = "There is no such flow."),
    Refusals,
))]
async fn find_flow(
    State(context): State<Context>,
    Asked(query): Asked<FlowQuery>,
) -> Result<Json<Flow>, Failure> {
    let key = tuple::parse(&query.tuple)
        .map_err(|ApiError { error, help }| Failure::misasked(error, help))?;
    let found = read(&context, move |tables, view| flows::find(tables, view, key)).await?;
    found.map(Json).ok_or_else(|| {
        Failure::new(
            StatusCode::NOT_FOUND,
            format!("there is no flow `{}`", query.tuple),
            "it may have ended; `egret flows` lists those there are, and `egret drops` says why \
             packets find none",
        )
    })
}

/// Ask who had an external address and port
///
/// From the files of the session log, also about flows that are long gone, and from the flows there
/// are.
#[utoipa::path(get, path = path::WHO, tag = "see", params(WhoQuery), responses(
    (status = 200, body = Who, description = "Every flow that had it then; perhaps none."),
    (status = 400, body = ApiError, description = "The question cannot be understood."),
    Refusals,
))]
async fn ask_who(
    State(context): State<Context>,
    Asked(query): Asked<WhoQuery>,
) -> Result<Json<Who>, Failure> {
    let question = who::parse(&query, Clock::now().wall())
        .map_err(|ApiError { error, help }| Failure::misasked(error, help))?;
    let answer = move |tables: &Tables, view: &View| who::who(tables, view, &question);
    read(&context, answer).await.map(Json)
}

/// Show the pools
///
/// Ports used and free on each external address, traffic and new flows of each pool.
#[utoipa::path(get, path = path::POOLS, tag = "see", responses(
    (status = 200, body = Pools, description = "All pools."),
    Refusals,
))]
async fn show_pools(State(context): State<Context>) -> Result<Json<Pools>, Failure> {
    read(&context, pools::pools).await.map(Json)
}

/// List the mappings that were asked for
///
/// External ports that the configuration forwards, and those that were granted.
#[utoipa::path(get, path = path::MAPPINGS, tag = "see", responses(
    (status = 200, body = Mappings, description = "All of them."),
    Refusals,
))]
async fn list_mappings(State(context): State<Context>) -> Json<Mappings> {
    Json(mappings::mappings(&context.shared.view(), kernel::now()))
}

/// Ask for an external port
///
/// Or for more time for the one that the internal endpoint was granted. What RFC 6887's MAP does.
#[utoipa::path(post, path = path::MAPPINGS, tag = "change", request_body = MappingRequest, responses(
    (status = 200, body = Mapping, description = "It is granted: which port, and for how long."),
    (status = 400, body = ApiError, description = "The request cannot be understood."),
    (status = 403, body = ApiError, description = "The mapping is another owner's."),
    (status = 409, body = ApiError, description = "It cannot be granted."),
    (status = 503, body = ApiError, description = "The daemon has too much to do, or ends."),
    Refusals,
))]
async fn ask_for_mapping(
    State(context): State<Context>,
    body: Body,
) -> Result<Json<Mapping>, Failure> {
    let request: MappingRequest = request::json(body).await?;
    let ask = mappings::asked(&request)
        .map_err(|ApiError { error, help }| Failure::misasked(error, help))?;
    decided(&context, |reply| Command::Ask(ask, reply)).await
}

/// Withdraw a mapping that was granted
///
/// The flows it has go on until they end.
#[utoipa::path(delete, path = path::MAPPINGS, tag = "change", params(WithdrawQuery), responses(
    (status = 200, body = Mapping, description = "It is withdrawn: what it was."),
    (status = 400, body = ApiError, description = "The query cannot be understood."),
    (status = 403, body = ApiError, description = "The mapping is another owner's."),
    (status = 404, body = ApiError, description = "There is no such mapping."),
    (status = 503, body = ApiError, description = "The daemon has too much to do, or ends."),
    Refusals,
))]
async fn withdraw_mapping(
    State(context): State<Context>,
    Asked(query): Asked<WithdrawQuery>,
) -> Result<Json<Mapping>, Failure> {
    let withdraw = mappings::withdrawn(&query)
        .map_err(|ApiError { error, help }| Failure::misasked(error, help))?;
    decided(&context, |reply| Command::Withdraw(withdraw, reply)).await
}

/// Lets the driver decide about a mapping.
async fn decided(
    context: &Context,
    command: impl FnOnce(Reply<Result<Granted, Denied>>) -> Command,
) -> Result<Json<Mapping>, Failure> {
    let command = context.shared.command(command);
    match timeout(COMMAND_TIME_MAX, command).await {
        Ok(Some(Ok(granted))) => {
            let view = context.shared.view();
            Ok(Json(mappings::granted(&view, &granted, kernel::now())))
        }
        Ok(Some(Err(denied))) => {
            let status = match denied {
                Denied::NoPorts => StatusCode::BAD_REQUEST,
                Denied::NotYours { .. } => StatusCode::FORBIDDEN,
                Denied::NoMapping { .. } => StatusCode::NOT_FOUND,
                Denied::Unconfigured
                | Denied::NoPool { .. }
                | Denied::NotItsAddress { .. }
                | Denied::Forwarded { .. }
                | Denied::Elsewhere { .. }
                | Denied::NotFree { .. }
                | Denied::Exhausted { .. }
                | Denied::TooMany
                | Denied::TooManyOfClient { .. }
                | Denied::TableFull => StatusCode::CONFLICT,
            };
            Err(Failure::Error(status, mappings::denied(&denied)))
        }
        Ok(None) | Err(_) => Err(Failure::busy(
            "the daemon has too much to do, or ends",
            "`egret mappings` shows what there is; ask again",
        )),
    }
}

/// Show what routers are told
///
/// Peers with their states, what each was told, and what happened last.
#[utoipa::path(get, path = path::BGP, tag = "see", responses(
    (status = 200, body = Bgp, description = "All peers."),
    (status = 503, body = ApiError, description = "The daemon has too much to do, or ends."),
    Refusals,
))]
async fn show_bgp(State(context): State<Context>) -> Result<Json<Bgp>, Failure> {
    let picture = picture(&context).await?;
    Ok(Json(routing::bgp(&picture)))
}

/// Show which ways are watched
///
/// Sessions of BFD with their states and timers.
#[utoipa::path(get, path = path::BFD, tag = "see", responses(
    (status = 200, body = Bfd, description = "All sessions."),
    (status = 503, body = ApiError, description = "The daemon has too much to do, or ends."),
    Refusals,
))]
async fn show_bfd(State(context): State<Context>) -> Result<Json<Bfd>, Failure> {
    match timeout(COMMAND_TIME_MAX, context.shared.ways.picture()).await {
        Ok(Some(picture)) => Ok(Json(routing::bfd(&picture))),
        Ok(None) | Err(_) => Err(unanswered()),
    }
}

/// Show the gateways that share external addresses
///
/// The members of the cluster, how they stand, and what each holds, as this one sees it.
#[utoipa::path(get, path = path::CLUSTER, tag = "see", responses(
    (status = 200, body = Cluster, description = "The members; none where a gateway is alone."),
    (status = 503, body = ApiError, description = "The daemon has too much to do, or ends."),
    Refusals,
))]
async fn show_cluster(State(context): State<Context>) -> Result<Json<Cluster>, Failure> {
    let (ways, copies) = sharing(&context).await?;
    Ok(Json(cluster::cluster(ways.cluster.as_ref(), Some(&copies))))
}

/// Show which member of the cluster serves a flow
///
/// Of a flow that there is or may be, or of an external address and port: its bucket, who owns that and who held it
/// before, and why.
#[utoipa::path(get, path = path::OWNER, tag = "see", params(OwnerQuery), responses(
    (status = 200, body = Owner, description = "Whose it is; without members where a gateway is alone."),
    (status = 400, body = ApiError, description = "The tuple cannot be understood."),
    (status = 503, body = ApiError, description = "The daemon has too much to do, or ends."),
    Refusals,
))]
async fn show_owner(
    State(context): State<Context>,
    Asked(query): Asked<OwnerQuery>,
) -> Result<Json<Owner>, Failure> {
    let asked = owner::parse(&query.tuple)
        .map_err(|ApiError { error, help }| Failure::misasked(error, help))?;
    let (ways, _) = sharing(&context).await?;
    let placed = read(&context, move |tables, view| {
        owner::place(tables, view, &asked)
    });
    let placed = placed.await?;
    Ok(Json(match &ways.cluster {
        Some(members) => owner::owner(placed, members),
        None => owner::alone(placed),
    }))
}

/// How it is with other members, and with copies.
async fn sharing(context: &Context) -> Result<(ways::Picture, replication::Picture), Failure> {
    let (ways, replication) = (&context.shared.ways, &context.shared.replication);
    let both = async { (ways.picture().await, replication.picture().await) };
    match timeout(COMMAND_TIME_MAX, both).await {
        Ok((Some(ways), Some(copies))) => Ok((ways, copies)),
        Ok(_) | Err(_) => Err(unanswered()),
    }
}

/// Ask something of the session with a peer
///
/// To begin anew, or to say everything again.
#[utoipa::path(post, path = path::BGP, tag = "change", request_body = BgpRequest, responses(
    (status = 200, body = Bgp, description = "It was asked: all peers, as they are now."),
    (status = 404, body = ApiError, description = "There is no such peer."),
    (status = 503, body = ApiError, description = "The daemon has too much to do, or ends."),
    Refusals,
))]
async fn ask_bgp(State(context): State<Context>, body: Body) -> Result<Json<Bgp>, Failure> {
    let BgpRequest { peer, ask } = request::json(body).await?;
    let order = |reply| Order::Ask(peer.clone(), ask, reply);
    if !answered(&context, order).await? {
        let error = ApiError {
            error: format!("there is no BGP peer `{peer}`"),
            help: "`egret bgp` lists them".to_owned(),
        };
        return Err(Failure::Error(StatusCode::NOT_FOUND, error));
    }
    Ok(Json(routing::bgp(&picture(&context).await?)))
}

/// Show whether this gateway is on its way out
#[utoipa::path(get, path = path::DRAIN, tag = "see", responses(
    (status = 200, body = Drain, description = "Where the drain stands."),
    (status = 503, body = ApiError, description = "The daemon has too much to do, or ends."),
    Refusals,
))]
async fn show_drain(State(context): State<Context>) -> Result<Json<Drain>, Failure> {
    let drain = routing::drain(&picture(&context).await?);
    let (ways, copies) = sharing(&context).await?;
    let hand_over = cluster::hand_over(ways.cluster.as_ref(), Some(&copies));
    Ok(Json(Drain { hand_over, ..drain }))
}

/// Drain: have routers send elsewhere
///
/// They are asked to prefer others (RFC 8326), traffic is waited for, then routes are withdrawn. The daemon
/// goes on, and so do flows.
#[utoipa::path(post, path = path::DRAIN, tag = "change", responses(
    (status = 200, body = Drain, description = "It has begun: where it stands."),
    (status = 503, body = ApiError, description = "The daemon has too much to do, or ends."),
    Refusals,
))]
async fn drain(State(context): State<Context>) -> Result<Json<Drain>, Failure> {
    context.shared.routes.order(Order::Drain);
    show_drain(State(context)).await
}

/// Serve again
///
/// Routes are announced as before the drain.
#[utoipa::path(delete, path = path::DRAIN, tag = "change", responses(
    (status = 200, body = Drain, description = "It serves: where the drain stands."),
    (status = 503, body = ApiError, description = "The daemon has too much to do, or ends."),
    Refusals,
))]
async fn undrain(State(context): State<Context>) -> Result<Json<Drain>, Failure> {
    context.shared.routes.order(Order::Undrain);
    show_drain(State(context)).await
}

/// How it is with routers.
async fn picture(context: &Context) -> Result<Picture, Failure> {
    answered(context, Order::Show).await
}

/// Asks the thread of BGP.
async fn answered<T>(
    context: &Context,
    order: impl FnOnce(oneshot::Sender<T>) -> Order,
) -> Result<T, Failure> {
    match timeout(COMMAND_TIME_MAX, context.shared.routes.ask(order)).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) | Err(_) => Err(unanswered()),
    }
}

fn unanswered() -> Failure {
    Failure::busy("the daemon has too much to do, or ends", "ask again")
}

/// Show dropped packets by reason
///
/// Each with the sentence that explains it.
#[utoipa::path(get, path = path::DROPS, tag = "see", responses(
    (status = 200, body = Drops, description = "Every reason to drop a packet."),
    Refusals,
))]
async fn show_drops(State(context): State<Context>) -> Result<Json<Drops>, Failure> {
    read(&context, |tables, _| exits::drops(tables))
        .await
        .map(Json)
}

/// Show what became of every packet
///
/// Each way out of the packet path has a counter; there is no silent one.
#[utoipa::path(get, path = path::COUNTERS, tag = "see", responses(
    (status = 200, body = Counters, description = "Every way out of the packet path."),
    Refusals,
))]
async fn show_counters(State(context): State<Context>) -> Result<Json<Counters>, Failure> {
    read(&context, |tables, _| exits::counters(tables))
        .await
        .map(Json)
}

/// Show the configuration in force
///
/// As it was written.
#[utoipa::path(get, path = path::CONFIG, tag = "see", responses(
    (status = 200, body = String, content_type = "text/yaml", description = "The text."),
    Refusals,
))]
async fn show_config(State(context): State<Context>) -> impl IntoResponse {
    let text = context.shared.view().config.text.to_string();
    ([(header::CONTENT_TYPE, "text/yaml; charset=utf-8")], text)
}

/// Replace the configuration
///
/// As a whole or not at all, and without touching a flow there is.
#[utoipa::path(post, path = path::CONFIG, tag = "change", request_body = ApplyRequest, responses(
    (status = 200, body = Applied, description = "It was done, or would have been: what changed."),
    (status = 400, body = ApiError, description = "The body is no such request."),
    (status = 409, body = ApiError, description = "It is valid, but not possible now."),
    (status = 413, body = ApiError, description = "The body is too long."),
    (status = 422, body = Problems, description = "It is not valid: everything that is wrong."),
    (status = 503, body = ApiError, description = "The daemon has too much to do, or ends."),
    Refusals,
))]
async fn apply_config(
    State(context): State<Context>,
    body: Body,
) -> Result<Json<Applied>, Failure> {
    let wanted: ApplyRequest = request::json(body).await?;
    let command = (context.shared).command(|reply| Command::Apply(wanted, reply));
    match timeout(COMMAND_TIME_MAX, command).await {
        Ok(Some(Ok(applied))) => Ok(Json(applied)),
        Ok(Some(Err(Refused::Invalid(problems)))) => Err(Failure::Problems(problems)),
        Ok(Some(Err(Refused::NotNow(error)))) => Err(Failure::Error(StatusCode::CONFLICT, error)),
        Ok(None) => Err(Failure::busy(
            "the daemon has too much to do, or ends; nothing was done",
            "apply it again; if that does not help, look at the daemon's log",
        )),
        Err(_) => Err(Failure::busy(
            format!(
                "the daemon did not do it within {} s, and may still do it",
                COMMAND_TIME_MAX.as_secs()
            ),
            "`egret status` shows by its digest which configuration is in force",
        )),
    }
}

/// Show this document
#[utoipa::path(get, path = path::OPENAPI, tag = "see", responses(
    (status = 200, body = Object, description = "OpenAPI 3.1."),
))]
async fn show_document(State(context): State<Context>) -> impl IntoResponse {
    let document = context.document.to_string();
    ([(header::CONTENT_TYPE, "application/json")], document)
}

/// Show the metrics
///
/// In the Prometheus text format, read from the tables at this moment.
#[utoipa::path(get, path = path::METRICS, tag = "watch", responses(
    (status = 200, body = String, content_type = "text/plain", description = "The page."),
    Refusals,
))]
async fn show_metrics(State(context): State<Context>) -> Result<impl IntoResponse, Failure> {
    let view = context.shared.view();
    // What a thread that hangs would say is left out, and everything else is said.
    let bgp = picture(&context).await.map(|it| routing::bgp(&it));
    let ways = context.shared.ways.picture().await;
    let copies = context.shared.replication.picture().await;
    let members = ways.as_ref().and_then(|it| it.cluster.as_ref());
    let cluster = cluster::cluster(members, copies.as_ref());
    let bfd = ways.map(|it| routing::bfd(&it)).unwrap_or_default();
    let routes = (bgp.unwrap_or_default(), bfd, cluster);
    let page = read(&context, |tables, _| {
        Readings::read(tables, view, routes).map(|readings| metrics::page(&readings))
    });
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page.await?))
}

/// Say whether the daemon lives
///
/// Packets do not need it: restarting it because this fails interrupts nothing.
#[utoipa::path(get, path = path::HEALTHY, tag = "watch", responses(
    (status = 200, body = String, content_type = "text/plain", description = "It lives."),
))]
async fn healthy() -> &'static str {
    "it lives\n"
}

/// Say whether packets can be sent here
///
/// They can if the packet path hangs on every interface of the configuration.
#[utoipa::path(get, path = path::READY, tag = "watch", responses(
    (status = 200, body = String, content_type = "text/plain", description = "They can."),
    (status = 503, body = ApiError, description = "They cannot: why, and what to do."),
))]
async fn ready(State(context): State<Context>) -> Result<&'static str, Failure> {
    let view = context.shared.view();
    let missing = view.interfaces.iter().filter(|it| !it.attached);
    let missing: Vec<&str> = missing.map(|it| it.name.as_str()).collect();
    if view.interfaces.is_empty() || !missing.is_empty() {
        return Err(Failure::busy(
            format!("the packet path does not hang on: {}", missing.join(", ")),
            "`egret status` and the daemon's log say why",
        ));
    }
    Ok("it is ready\n")
}

async fn unknown(uri: Uri) -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        format!("nothing is served under {}", uri.path()),
        format!(
            "the API is served on the unix socket only, and {} there lists what there is",
            path::OPENAPI
        ),
    )
}

async fn not_allowed(method: Method, uri: Uri) -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} does not take {method}", uri.path()),
        format!("{} says what it takes", path::OPENAPI),
    )
}

/// Reads the tables on another thread: the event loop has packets' routes to follow.
async fn read<T: Send + 'static>(
    context: &Context,
    read: impl FnOnce(&Tables, &View) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Failure> {
    let shared = context.shared.clone();
    let done = spawn_blocking(move || read(&shared.tables, &shared.view())).await;
    done.map_err(|_| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "reading the tables broke off",
            "the daemon's log says where; this is a defect, please report it",
        )
    })?
    .map_err(Failure::from)
}
