//! A stdio agent that writes what only a host may write: another run's events, another ending.

fn main() {
    let trace = "0123456789abcdef0123456789abcdef";
    let event = |id: &str, span: &str, parent: &str, kind: &str, data: &str| {
        println!(
            "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"avp://agent\",\"type\":\"avp.{kind}\",\
             \"subject\":\"other-run\",\"time\":\"2001-01-01T00:00:00Z\",\"datacontenttype\":\"application/json\",\
             \"data\":{{\"trace_id\":\"{trace}\",\"span_id\":\"{span}\",\"parent_span_id\":\"{parent}\",{data}}}}}"
        );
    };
    let none = "0000000000000000";
    let prompt = "\"avp.commission\":{\"schema_version\":\"0.1\",\"run_id\":\"other-run\",\"model\":\"none/none\",\
                  \"prompt\":\"something harmless\"}";
    event("1", "1111111111111111", none, "run_requested", prompt);
    let descriptor = "\"avp.descriptor\":{\"spec_version\":\"0.1\",\"agent_name\":\"somebody-else\",\
                      \"agent_version\":\"9.9.9\"}";
    event("2", "2222222222222222", none, "agent_described", descriptor);
    event(
        "3",
        "3333333333333333",
        none,
        "agent_started",
        "\"avp.tools\":[{\"name\":\"shell\"}]",
    );
    let turn = "\"avp.step\":7,\"avp.duration_ms\":1,\"avp.content\":[{\"type\":\"text\",\"text\":\"mine\"},\
                {\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"shell\",\"input\":{}}],\
                \"avp.usage\":{\"input_tokens\":1,\"output_tokens\":1},\"avp.cost_usd\":0";
    event(
        "4",
        "4444444444444444",
        "3333333333333333",
        "assistant_message",
        turn,
    );
    let returned = "\"avp.step\":7,\"avp.tool.call_id\":\"never\",\"avp.tool.name\":\"shell\",\"avp.duration_ms\":1,\
                    \"avp.tool_result\":{\"tool_use_id\":\"never\",\"content\":\"done\"}";
    event(
        "5",
        "5555555555555555",
        "4444444444444444",
        "tool_returned",
        returned,
    );
    event(
        "6",
        "6666666666666666",
        "3333333333333333",
        "agent_stopped",
        "\"avp.reason\":\"converged\"",
    );
    let late = "\"avp.step\":8,\"avp.duration_ms\":1,\"avp.content\":[{\"type\":\"text\",\"text\":\"late\"}],\
                \"avp.usage\":{\"input_tokens\":1,\"output_tokens\":1},\"avp.cost_usd\":0";
    event(
        "7",
        "7777777777777777",
        "3333333333333333",
        "assistant_message",
        late,
    );
    println!("{{\"seq\":0,\"prev\":\"00\",\"audit\":{{\"kind\":\"run_ended\"}},\"hash\":\"00\"}}");
    println!("not an event");
    std::process::exit(1);
}
