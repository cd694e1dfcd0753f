//! `/v1/keys`, `/v1/tenants`, `/v1/quotas`, `/v1/usage` and `/v1/audit`: who there is, what each may do and did, and who changed it.

use crate::api::tenancy::Tenancy;
use fireclay_tests::Server;
use serde_json::{Value, json};

#[test]
fn a_key_is_shown_once_and_listed_without_its_secret() {
    let tenancy = Tenancy::start();
    let asked = json!({"tenant": "c", "role": "tenant", "name": "ci \u{1f511}", "expires_at": "2999-01-01T00:00:00Z"});
    let answer = tenancy.answer(&tenancy.admin, "POST", "/v1/keys", Some(&asked));
    assert_eq!((answer.status, answer.header("cache-control")), (201, "no-store"));
    let (_, made) = answer.into_json();
    let key = made["key"].as_str().unwrap();
    assert_eq!(tenancy.ask(key, "GET", "/v1/quotas").1["tenant"], "c");
    let (_, listed) = tenancy.ask(&tenancy.admin, "GET", "/v1/keys?tenant=c");
    let row = &listed["items"][0];
    assert_eq!(
        (&row["id"], &row["name"], &row["expires_at"]),
        (&made["id"], &made["name"], &json!("2999-01-01T00:00:00.000Z"))
    );
    assert!(!listed.to_string().contains(&key[14..]), "{listed}");
    let (_, all) = tenancy.ask(&tenancy.admin, "GET", "/v1/keys?limit=2");
    let (_, rest) =
        tenancy.ask(&tenancy.admin, "GET", &format!("/v1/keys?cursor={}", all["next"].as_str().unwrap()));
    assert_eq!((all["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (2, 2));
}

#[test]
fn the_last_administrator_cannot_lock_everybody_out() {
    let tenancy = Tenancy::start();
    let id = |key: &str| format!("/v1/keys/{}", key.split('_').nth(1).unwrap());
    let (status, problem) = tenancy.ask(&tenancy.admin, "DELETE", &id(&tenancy.admin));
    assert_eq!((status, &problem["type"]), (409, &json!("/problems/conflict")), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("another key with the role admin"), "{problem}");
    assert_eq!(tenancy.ask(&tenancy.admin, "DELETE", &id(&tenancy.a)).0, 204);
    let (_, other) = tenancy.tell(&tenancy.admin, "POST", "/v1/keys", &json!({"role": "admin"}));
    assert_eq!(tenancy.ask(&tenancy.admin, "DELETE", &id(&tenancy.admin)).0, 204);
    assert_eq!(tenancy.ask(&tenancy.admin, "GET", "/v1/keys").0, 401);
    let other = other["key"].as_str().unwrap();
    assert_eq!(tenancy.ask(other, "DELETE", &id(other)).0, 409);
}

#[test]
fn wrong_keys_are_not_made() {
    let server = Server::start(&[]);
    let refused = |body: Value| {
        let (status, problem) = server.post_json("/v1/keys", &body);
        (status, problem["field"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(refused(json!({})), (409, "role".to_owned()));
    assert_eq!(refused(json!({"role": "root"})), (422, "role".to_owned()));
    assert_eq!(refused(json!({"role": "admin", "tenant": "No Name"})), (422, "tenant".to_owned()));
    assert_eq!(
        refused(json!({"role": "admin", "expires_at": "2001-01-01T00:00:00Z"})),
        (422, "expires_at".to_owned())
    );
    assert_eq!(refused(json!({"role": "admin", "expires_at": "soon"})), (422, "expires_at".to_owned()));
    assert_eq!(refused(json!({"role": "admin", "name": "x".repeat(257)})).0, 422);
    assert_eq!(refused(json!({"role": "admin", "secret": "mine"})).0, 422);
    assert_eq!(server.get_json("/v1/keys").1, json!({"items": [], "next": null}));
    assert_eq!(server.delete("/v1/keys/nothing").0, 404);
    assert_eq!(server.delete("/v1/keys/0000000000").0, 404);
}

#[test]
fn a_quota_holds_from_the_answer_on() {
    let tenancy = Tenancy::start();
    assert_eq!(tenancy.ask(&tenancy.a, "GET", "/v1/quotas").1["rate_per_minute"], 0);
    tenancy.run(&tenancy.a);
    let quota = json!({"rate_per_minute": 1, "queue_length": 7, "ceiling": {"timeout_ms": 5000, "memory_bytes": 1u64 << 60}});
    let (status, now) = tenancy.tell(&tenancy.admin, "PUT", "/v1/quotas/a", &quota);
    assert_eq!((status, &now["quota"], &now["queue_length"]), (200, &quota, &json!(7)));
    assert_eq!(now["ceiling"]["timeout_ms"], 5000);
    assert_ne!(
        now["ceiling"]["memory_bytes"],
        json!(1u64 << 60),
        "a tenant's ceiling only narrows the service's"
    );
    assert_eq!(tenancy.ask(&tenancy.a, "GET", "/v1/quotas").1, now);
    let (_, limits) = tenancy.ask(&tenancy.a, "GET", "/v1/limits");
    assert_eq!(
        (&limits["limits"]["timeout_ms"], &limits["ceiling"]["timeout_ms"]),
        (&json!(5000), &json!(5000))
    );

    tenancy.run(&tenancy.a);
    let refused =
        tenancy.answer(&tenancy.a, "POST", "/v1/runs", Some(&json!({"language": "python", "code": ""})));
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    tenancy.run(&tenancy.b);

    let (_, tenants) = tenancy.ask(&tenancy.admin, "GET", "/v1/tenants");
    let names: Vec<_> =
        tenants["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "local"]);
    assert_eq!(tenants["items"][0]["quota"], quota);
}

#[test]
fn wrong_quotas_change_nothing() {
    let server = Server::start(&[]);
    let put = |path: &str, body: Value| {
        let headers = [("content-type", "application/json")];
        server.send("PUT", path, &headers, body.to_string().as_bytes()).into_json().0
    };
    assert_eq!(put("/v1/quotas/a", json!({"ceiling": {"cpus": -1.0}})), 422);
    assert_eq!(put("/v1/quotas/a", json!({"ceiling": {"timeout_ms": 0}})), 422);
    assert_eq!(put("/v1/quotas/a", json!({"concurrency": -1})), 422);
    assert_eq!(put("/v1/quotas/a", json!({"burst": 1})), 422);
    assert_eq!(put("/v1/quotas/NOT%20A%20NAME", json!({})), 404);
    assert_eq!(server.get_json("/v1/tenants").1["items"], json!([]));
}

#[test]
fn usage_is_counted_by_tenant_and_hour() {
    let tenancy = Tenancy::start();
    tenancy.run(&tenancy.a);
    tenancy.run(&tenancy.a);
    tenancy.run(&tenancy.b);
    let runs = |key: &str, path: &str| {
        let (status, page) = tenancy.ask(key, "GET", path);
        assert_eq!(status, 200, "{page}");
        page["items"].as_array().unwrap().iter().map(|hour| hour["runs"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(runs(&tenancy.a, "/v1/usage"), 2);
    assert_eq!(runs(&tenancy.admin, "/v1/usage"), 3);
    assert_eq!(runs(&tenancy.admin, "/v1/usage?tenant=b"), 1);
    assert_eq!(runs(&tenancy.admin, "/v1/usage?since=2999-01-01T00:00:00Z"), 0);
    assert_eq!(runs(&tenancy.admin, "/v1/usage?until=2001-01-01T00:00:00Z"), 0);
    assert_eq!(tenancy.ask(&tenancy.a, "GET", "/v1/usage?since=yesterday").0, 422);
}

#[test]
fn every_change_is_in_the_audit_log_with_who_made_it() {
    let tenancy = Tenancy::start();
    let actor = &tenancy.admin[3..13];
    let (_, made) = tenancy.tell(&tenancy.admin, "POST", "/v1/keys", &json!({"tenant": "a"}));
    let id = made["id"].as_str().unwrap();
    tenancy.ask(&tenancy.admin, "DELETE", &format!("/v1/keys/{id}"));
    tenancy.tell(&tenancy.admin, "PUT", "/v1/quotas/b", &json!({"concurrency": 1}));
    let run = tenancy.run(&tenancy.a);
    assert_eq!(tenancy.ask(&tenancy.a, "DELETE", &format!("/v1/runs/{run}")).0, 204);

    let (_, log) = tenancy.ask(&tenancy.admin, "GET", "/v1/audit");
    let acts: Vec<_> = log["items"].as_array().unwrap().iter().take(4).collect();
    let told = |act: &Value| {
        ["actor", "tenant", "action", "object"].map(|field| act[field].as_str().unwrap().to_owned())
    };
    let of = |words: [&str; 4]| words.map(str::to_owned);
    assert_eq!(told(acts[0]), of([&tenancy.a[3..13], "a", "run.delete", &run]));
    assert_eq!(told(acts[1]), of([actor, "b", "tenant.put", "b"]));
    assert_eq!(told(acts[2]), of([actor, "a", "key.revoke", id]));
    assert_eq!(told(acts[3]), of([actor, "a", "key.create", id]));
    assert!(!log.to_string().contains(&made["key"].as_str().unwrap()[14..]));

    let (_, of_a) = tenancy.ask(&tenancy.a, "GET", "/v1/audit?action=key.revoke");
    assert_eq!(of_a["items"].as_array().unwrap().len(), 1);
    let (_, verdict) = tenancy.ask(&tenancy.admin, "GET", "/v1/audit/verify");
    assert_eq!((&verdict["whole"], &verdict["head"]), (&json!(true), &acts[0]["hash"]));
}
