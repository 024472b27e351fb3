//! A program that exits with a failure code has crashed, whatever it wrote before.

fn main() {
    println!(
        "{{\"type\":\"avp.assistant_message\",\"data\":{{\"avp.content\":[{{\"type\":\"text\",\"text\":\"oh no\"}}],\"avp.usage\":{{\"input_tokens\":1,\"output_tokens\":1}}}}}}"
    );
    println!("{{\"type\":\"avp.agent_stopped\",\"data\":{{\"avp.reason\":\"converged\"}}}}");
    eprintln!("giving up");
    std::process::exit(1);
}
