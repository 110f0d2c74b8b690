//! `render` as a process (I5).

use std::process::Command;

use crate::support::Said;

/// Runs `render` on an input: exit code, standard output, standard error.
fn render(input: &[u8]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command.arg("render");
    let said = Said::with_input(command, input);
    (said.code, said.out, said.err)
}

#[test]
fn the_worked_example_is_printed_to_the_letter() {
    let settings = r#"{"provider":"cartesia","voice_id":"test-voice-123","temperature":0.9,"llm_provider":"groq","llm_model":"mixtral-8x7b-32768","stt_provider":"deepgram","model":"sonic-english","output_format":"pcm_44100"}"#;
    let provider_config = r#"{"llm":{"provider":"groq","model":"mixtral-8x7b-32768","temperature":0.9},"tts":{"provider":"cartesia","voice_id":"test-voice-123","model":"sonic-english","output_format":"pcm_44100"},"stt":{"provider":"deepgram","model":"nova-2"}}"#;
    let expected = format!(
        "{{\"voice_settings\":{settings},\"voice_id\":\"test-voice-123\",\"temperature\":0.9,\"provider_config\":{provider_config}}}\n"
    );
    // An object, a string, and a string on several lines; without a configuration, with null, and
    // with an empty one.
    let string = serde_json::to_string(settings).unwrap();
    let spread = settings.replace(',', " ,\n ");
    for (settings, rest) in [
        (settings, ""),
        (&string, r#","configuration":null"#),
        (
            &spread,
            r#","configuration":{"provider_config":"{}","openai_api_key":{}},"more":1"#,
        ),
    ] {
        let input =
            format!("{{\"agent\":{{\"slug\":\"ada\",\"voice_settings\":{settings}}}{rest}}}");
        let told = if rest.contains("more") {
            "agent-sync: warning: more: nothing reads it; known here: agent, configuration\n"
        } else {
            ""
        };
        assert_eq!(
            render(input.as_bytes()),
            (0, expected.clone(), told.to_owned())
        );
    }
}

#[test]
fn columns_are_printed_in_the_order_of_the_contract() {
    let input = r#"{
        "configuration": {"temperature": "0.5", "provider_config": {"llm": {"provider": "groq", "n": 1.00}}},
        "agent": {"voice_settings": {"llm_provider": "groq", "llm_model": "m", "temperature": "1.50", "voice_id": "v"},
                  "agent_image": "i\n", "system_prompt": "p\"", "name": "n"}
    }"#;
    let expected = r#"{"agent_name":"n","system_prompt":"p\"","agent_image":"i\n","voice_settings":{"llm_provider":"groq","llm_model":"m","temperature":"1.50","voice_id":"v"},"voice_id":"v","temperature":1.50,"provider_config":{"llm":{"provider":"groq","n":1.00,"model":"m","temperature":1.50}}}"#;
    assert_eq!(
        render(input.as_bytes()),
        (0, format!("{expected}\n"), String::new())
    );
}

#[test]
fn a_configuration_in_sync_gives_an_empty_object() {
    let input = r#"{"agent":{"name":"n","voice_settings":{"temperature":1.0}},
        "configuration":{"agent_name":"n","temperature":1,"voice_settings":"{\"temperature\":1}"}}"#;
    assert_eq!(
        render(input.as_bytes()),
        (0, "{}\n".to_owned(), String::new())
    );
}

#[test]
fn warnings_go_to_standard_error() {
    let (code, out, err) = render(br#"{"agent":{"voice_settings":{"provider":"acme"}}}"#);
    assert_eq!(
        (code, &*out),
        (
            0,
            "{\"voice_settings\":{\"provider\":\"acme\"},\"provider_config\":{\"tts\":{\"provider\":\"acme\"}}}\n"
        )
    );
    let expected = "agent-sync: warning: tts: no rule for the provider \"acme\", so the rule for \
        any other provider is used; add [tts.providers.acme] to the rules\n";
    assert_eq!(err, expected);
}

#[test]
fn a_rejected_agent_exits_1_with_all_reasons_on_standard_error() {
    let input = r#"{"agent":{"name":"n","voice_settings":{"temperature":3,"voice_id":[]}},"configuration":{"provider_config":[]}}"#;
    let (code, out, err) = render(input.as_bytes());
    assert_eq!((code, &*out), (1, ""));
    let expected = "agent-sync: the agent is rejected, nothing would be written\n\
        \x20 because:\n\
        \x20 - provider_config: expected a JSON object, found an array\n\
        \x20 - voice_settings.voice_id: expected text, found an array\n\
        \x20 - voice_settings.temperature: expected a number from 0 to 2, found the number 3\n";
    assert_eq!(err, expected);
}

#[test]
fn malformed_input_exits_64_and_says_what_to_give() {
    let shape = "  try: give {\"agent\": {…}, \"configuration\": {…}}, with the columns of one row \
        of each table\n";
    let wrong = "agent-sync: standard input has not the shape of an agent\n  because: ";
    let list = "agent-sync: standard input has not the shape of an agent\n  because:\n  - ";
    for (input, expected) in [
        (
            "",
            "agent-sync: standard input: expected JSON, found something else\n  because: EOF \
            while parsing a value at line 1 column 0\n"
                .to_owned(),
        ),
        (
            "{\"agent\":",
            "agent-sync: standard input: expected JSON, found something else\n  \
            because: EOF while parsing a value at line 1 column 9\n"
                .to_owned(),
        ),
        (
            "[1]",
            format!("{wrong}standard input: expected an object, found an array\n"),
        ),
        (
            "{}",
            format!("{wrong}agent: expected an object, found nothing\n"),
        ),
        (
            "{\"agent\":null}",
            format!("{wrong}agent: expected an object, found null\n"),
        ),
        (
            "{\"agent\":{},\"configuration\":7}",
            format!(
                "{wrong}configuration: expected an object, \
                found the number 7\n"
            ),
        ),
        (
            "{\"agent\":{\"name\":5,\"system_prompt\":{}},\"configuration\":{\"temperature\":true,\"voice_id\":[]}}",
            format!(
                "{list}agent.name: expected text or null, found the number 5\n  - \
                agent.system_prompt: expected text or null, found an object\n  - \
                configuration.voice_id: expected text or null, found an array\n  - \
                configuration.temperature: expected a number or null, found true\n"
            ),
        ),
        (
            "{\"agent\":{\"name\":\"\\ud800\"}}",
            format!(
                "{wrong}agent.name: expected text or null, \
                found a string\n"
            ),
        ),
    ] {
        assert_eq!(
            render(input.as_bytes()),
            (64, String::new(), format!("{expected}{shape}")),
            "{input}"
        );
    }
    let (code, out, err) = render(b"\"\xff\"");
    assert_eq!((code, &*out), (64, ""));
    assert!(
        err.starts_with("agent-sync: standard input: expected UTF-8\n"),
        "{err}"
    );
}

#[test]
fn m10_settings_that_no_rule_reads_are_named_beside_the_result() {
    let settings =
        r#"{"provider":"openai","voiceId":"alloy","ttsModel":"tts-1","stability":1,"x":1}"#;
    let (code, out, err) =
        render(format!("{{\"agent\":{{\"voice_settings\":{settings}}}}}").as_bytes());
    let expected = format!(
        "{{\"voice_settings\":{settings},\"provider_config\":{{\"tts\":{{\"provider\":\"openai\"}}}}}}\n"
    );
    assert_eq!((code, out), (0, expected));
    let remarks = [
        "voice_settings.voiceId: no rule reads it; did you mean `voice_id`?",
        "voice_settings.ttsModel: no rule reads it; did you mean `model`?",
        "voice_settings.stability: no rule of the provider in force reads it; a rule of another one \
        does",
        "voice_settings.x: no rule reads it",
    ];
    let remarks = remarks.map(|remark| format!("agent-sync: warning: {remark}\n"));
    assert_eq!(err, remarks.concat());
}

/// Keys of the input that nothing reads are told: all beside the two rows, and in a row those that
/// are similar to a column, because a row has other columns.
#[test]
fn a_mistyped_key_of_the_input_is_told() {
    let input = r#"{"agent":{"voice_setings":{},"id":1,"created_at":"x","Name":"n"},"configuraton":{},
        "\u001b[2J":1}"#;
    let (code, out, err) = render(input.as_bytes());
    assert_eq!((code, &*out), (0, "{}\n"));
    let told: Vec<_> = err.lines().collect();
    assert_eq!(
        told,
        [
            "agent-sync: warning: configuraton: nothing reads it; did you mean `configuration`?",
            r#"agent-sync: warning: "\u001b[2J": nothing reads it; known here: agent, configuration"#,
            "agent-sync: warning: agent.voice_setings: nothing reads it; did you mean `voice_settings`?",
            "agent-sync: warning: agent.Name: nothing reads it; did you mean `name`?",
        ]
    );
    let keys: Vec<_> = (0..60_000).map(|key| format!("\"k{key}\":1")).collect();
    let (code, _, err) = render(format!("{{\"agent\":{{}},{}}}", keys.join(",")).as_bytes());
    assert_eq!((code, err.lines().count()), (0, 21));
}

/// An agent with 60,000 unknown keys costs little, and is told in a few lines.
#[test]
fn m10_the_remarks_on_one_agent_are_bounded() {
    let keys: Vec<_> = (0..60_000)
        .map(|key| format!("\"key_{key}\":{key}"))
        .collect();
    let settings = format!("{{\"provider\":\"openai\",{}}}", keys.join(","));
    let (code, _, err) =
        render(format!("{{\"agent\":{{\"voice_settings\":{settings}}}}}").as_bytes());
    assert_eq!((code, err.lines().count()), (0, 21));
    assert_eq!(
        err.lines().next_back(),
        Some("agent-sync: warning: and 59980 more settings that no rule reads")
    );
}
