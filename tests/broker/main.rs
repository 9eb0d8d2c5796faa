//! How the broker behaves, seen from outside: one binary, one module a behaviour.
//!
//! Each test builds the real application ([`support::broker`]) in this process, or starts the real program;
//! browsers, providers, Redis, upstreams and the network between them are real or stand at the network. Time is
//! moved, not waited for. Names of requirements in comments are those of `tests/REQUIREMENTS.md`.

#![expect(unreachable_pub, reason = "one binary: `pub` is for the other modules of it")]

mod support;

mod access_log;
mod access_token_claims;
mod administration;
mod answer_heads;
mod api_answers;
mod architecture;
mod authentication_time;
mod authorities;
mod authorization_parameters;
mod back_channel_logout;
mod behind_proxies;
mod blocks;
mod browser_journey;
mod callback;
mod check_store;
mod checking;
mod client_authentication;
mod configuration;
mod conformance;
mod connections;
mod cookies;
mod counterparts;
mod cut_off_log;
mod demo;
mod documents;
mod dpop;
mod examples;
mod filters;
mod finality;
mod finding_back;
mod forged_headers;
mod form_post;
mod front_channel_logout;
mod fuzz_corpus;
mod guarding;
mod hostile_store;
mod id_tokens;
mod library;
mod limits;
mod logging;
mod login;
mod logout;
mod logout_at_the_provider;
mod maintenance;
mod near_cache;
mod operation;
mod pages;
mod policies;
mod presets;
mod profile;
mod provider_claims;
mod provider_connections;
mod provider_documents;
mod provider_proxy;
mod provider_words;
mod providers;
mod proxying;
mod pushed_requests;
mod readiness;
mod redis_addresses;
mod renewal;
mod response_tokens;
mod revalidation;
mod reverse_proxies;
mod revocation;
mod security_events;
mod session;
mod silent_connections;
mod step_up;
mod store_contract;
mod store_outage;
mod store_owner;
mod terminal;
mod third_party_login;
mod token_endpoint;
mod token_revocation;
mod topologies;
mod upstream_answers;
mod userinfo_on_demand;
