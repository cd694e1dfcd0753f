//! `/v1/settings`, `/v1/limits` and `/v1/doctor`: what the service was told, and what it found.

use fireclay_tests::Server;
use serde_json::json;

#[test]
fn settings_are_told_as_they_are_in_force() {
    let server = Server::start(&["--set", "tenant.queue=7", "--set", "limits.timeout_ms=3s"]);
    let (_, settings) = server.get_json("/v1/settings");
    let of =
        |name: &str| settings["items"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    assert_eq!((&of("tenant.queue")["value"], &of("tenant.queue")["default"]), (&json!(7), &json!("2000")));
    assert_eq!(of("tenant.queue")["variable"], "FIRECLAY_TENANT_QUEUE");
    assert_eq!(of("limits")["value"], json!({"timeout_ms": 3000}));
    assert!(settings["items"].as_array().unwrap().iter().all(|row| !row["value"].is_null()), "{settings}");
    let (_, limits) = server.get_json("/v1/limits");
    assert_eq!(
        (&limits["limits"]["timeout_ms"], &limits["ceiling"]["timeout_ms"]),
        (&json!(3000), &json!(3_600_000))
    );
}

#[test]
fn the_doctor_is_asked_once_at_a_time_and_remembered() {
    let server = Server::start(&[]);
    let reports = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| server.get_json("/v1/doctor"))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(reports[0].0, 200, "{}", reports[0].1);
    assert!(["ready", "degraded"].contains(&reports[0].1["verdict"].as_str().unwrap()), "{}", reports[0].1);
    // Figures of a fresh report differ.
    assert!(reports.iter().all(|report| *report == reports[0]));
}
