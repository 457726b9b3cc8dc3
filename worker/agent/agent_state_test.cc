#include "worker/agent/agent_state.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using worker::v1::ConnectResponse;
using worker::v1::StoreRequest;
using worker::v1::TaskEvent;

const ProcessKey kKey{"t1", 1, 0};

TaskEvent Metrics(int num_points = 1) {
  TaskEvent event;
  for (int i = 0; i < num_points; ++i) event.mutable_metrics()->add_points()->set_name("train_loss");
  return event;
}

class AgentStateTest : public testing::Test {
 protected:
  explicit AgentStateTest(const AgentState::Options& options = {}) : rng_(1), state_(options, Hello(), &rng_) {}

  static worker::v1::Hello Hello() {
    worker::v1::Hello hello;
    hello.set_slots(2);
    hello.set_incarnation("i1");
    return hello;
  }

  // What the state asks for at now_, in words.
  std::vector<std::string> Act() {
    std::vector<std::string> words;
    for (const AgentAction& action : state_.TakeActions(now_)) words.push_back(Describe(action));
    return words;
  }
  std::string Describe(const AgentAction& action) {
    if (const auto* start = std::get_if<TaskTable::Start>(&action))
      return absl::StrCat("start ", start->key.ToString());
    if (const auto* stop = std::get_if<TaskTable::TellStop>(&action))
      return absl::StrCat("stop ", stop->key.ToString());
    if (const auto* kill = std::get_if<TaskTable::Kill>(&action)) return absl::StrCat("kill ", kill->key.ToString());
    if (std::get_if<OpenStream>(&action) != nullptr) return "open";
    if (std::get_if<CloseStream>(&action) != nullptr) return "close";
    if (const auto* keep = std::get_if<KeepWorkerId>(&action)) return absl::StrCat("keep ", keep->worker_id);
    if (const auto* upload = std::get_if<UploadBlobs>(&action)) return absl::StrCat("upload ", upload->event_id);
    if (const auto* release = std::get_if<ReleaseBlobs>(&action)) return absl::StrCat("release ", release->event_id);
    if (const auto* report = std::get_if<AnswerReport>(&action))
      return absl::StrCat("report ", report->report_id, " ", absl::StatusCodeToString(report->status.code()));
    if (const auto* answer = std::get_if<AnswerRendezvous>(&action))
      return absl::StrCat("answer ", answer->call_id, " ", absl::StatusCodeToString(answer->response.status().code()));
    if (const auto* predict = std::get_if<DeliverPredict>(&action))
      return absl::StrCat("predict ", predict->key.ToString(), " call ", predict->input.call_id());
    if (const auto* exit = std::get_if<ExitAgent>(&action))
      return absl::StrCat("exit ", absl::StatusCodeToString(exit->status.code()));
    const auto& message = std::get<SendMessage>(action).message;
    if (message.has_hello())
      return absl::StrCat("hello \"", message.hello().worker_id(), "\" ", message.hello().tasks_size());
    if (message.has_heartbeat() || message.ByteSizeLong() == 0)
      return absl::StrCat("heartbeat ", message.heartbeat().tasks_size());
    if (message.has_rendezvous()) return absl::StrCat("ask ", message.rendezvous().call_id());
    if (message.has_slots()) return absl::StrCat("slots ", message.slots().slots_size());
    std::string text = absl::StrCat("events ", message.events().sequence());
    for (const auto& event : message.events().events()) absl::StrAppend(&text, " ", event.event().event_case());
    return text;
  }

  void Welcome() {
    ConnectResponse message;
    message.mutable_welcome()->set_worker_id("w3");
    message.mutable_welcome()->set_heartbeat_millis(1000);
    state_.OnMessage(stream_, message, now_);
  }
  // The task t1 of `epoch` on slot 0; 0: nothing.
  void Desire(int64_t epoch, bool stop = false) {
    ConnectResponse message;
    message.mutable_desired();
    if (epoch > 0) {
      auto* order = message.mutable_desired()->add_orders();
      order->mutable_assignment()->set_task_id("t1");
      order->mutable_assignment()->set_epoch(epoch);
      order->mutable_assignment()->add_ranks(0);
      order->add_slots(0);
      order->set_stop(stop);
    }
    state_.OnMessage(stream_, message, now_);
  }
  void Connect() {
    Act();
    Welcome();
    Act();
  }
  void RunTask() {
    Connect();
    Desire(1);
    Act();
    state_.OnStarted(kKey);
  }
  // The stream breaks; the next one is opened and welcomed.
  void Break() {
    state_.OnStreamClosed(stream_, absl::UnavailableError("broken"), now_);
    now_ += absl::Seconds(10);
    ++stream_;
  }
  void Ack(int64_t sequence) {
    ConnectResponse message;
    message.mutable_ack()->set_sequence(sequence);
    state_.OnMessage(stream_, message, now_);
  }
  void Ask(int64_t call_id, StoreRequest::Operation operation) {
    StoreRequest request;
    request.set_operation(operation);
    request.set_amount(1);
    request.set_timeout_millis(1000);
    state_.OnRendezvous(kKey, call_id, request, now_);
  }
  void AnswerAsk(int64_t call_id, const std::string& error = "") {
    ConnectResponse message;
    message.mutable_rendezvous()->set_call_id(call_id);
    message.mutable_rendezvous()->set_error(error);
    state_.OnMessage(stream_, message, now_);
  }

  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  int64_t stream_ = 1;
  SeededRng rng_;
  AgentState state_;
};

using Words = std::vector<std::string>;

TEST_F(AgentStateTest, ConnectsKeepsItsIdAndBeats) {
  EXPECT_EQ(Act(), (Words{"open", "hello \"\" 0"}));
  EXPECT_EQ(Act(), Words{});
  Welcome();
  EXPECT_EQ(Act(), (Words{"keep w3", "heartbeat 0"}));
  EXPECT_EQ(state_.NextWakeup(), now_ + absl::Seconds(1));
  now_ += absl::Seconds(1);
  EXPECT_EQ(Act(), Words{"heartbeat 0"});
}

TEST_F(AgentStateTest, BacksOffAndConnectsAgainAsTheSameWorker) {
  Connect();
  state_.OnStreamClosed(stream_, absl::UnavailableError("away"), now_);
  EXPECT_EQ(Act(), Words{});
  EXPECT_GT(state_.NextWakeup(), now_);
  now_ = state_.NextWakeup();
  EXPECT_EQ(Act(), (Words{"open", "hello \"w3\" 0"}));
}

TEST_F(AgentStateTest, UnansweredHelloIsGivenUp) {
  Act();
  now_ += absl::Seconds(15);
  EXPECT_EQ(Act(), Words{"close"});
  EXPECT_EQ(Act(), Words{});
}

TEST_F(AgentStateTest, WrongTokenAtTheFirstAttemptIsFinalLaterItIsNot) {
  Act();
  state_.OnStreamClosed(1, absl::UnauthenticatedError("token"), now_);
  EXPECT_EQ(Act(), Words{"exit UNAUTHENTICATED"});

  AgentState other({}, Hello(), &rng_);
  other.TakeActions(now_);
  ConnectResponse welcome;
  welcome.mutable_welcome()->set_worker_id("w3");
  other.OnMessage(1, welcome, now_);
  other.OnStreamClosed(1, absl::UnauthenticatedError("token"), now_);
  EXPECT_TRUE(other.TakeActions(now_).size() <= 1);
  EXPECT_LT(other.NextWakeup(), absl::InfiniteFuture());
}

TEST_F(AgentStateTest, AWorkerThatWasRemovedEnds) {
  RunTask();
  state_.OnStreamClosed(stream_, absl::PermissionDeniedError("worker w3: was removed"), now_);
  EXPECT_EQ(Act(), (Words{"exit PERMISSION_DENIED"}));
}

TEST_F(AgentStateTest, SlotsAreToldWhenTheyAreKnownAndWhenTheyChange) {
  state_.AwaitSlots();
  EXPECT_EQ(Act(), Words{});
  EXPECT_EQ(state_.NextWakeup(), absl::InfiniteFuture());
  std::vector<v1::WorkerSlot> slots(1);
  slots[0].set_reason("GPU is lost");
  EXPECT_TRUE(state_.SetSlots(slots));
  EXPECT_EQ(Act(), (Words{"open", "hello \"\" 0"}));
  slots[0].set_reason("it does not start");
  EXPECT_TRUE(state_.SetSlots(slots));  // while hello is under way
  EXPECT_FALSE(state_.SetSlots(slots));
  EXPECT_EQ(Act(), Words{});
  Welcome();
  EXPECT_EQ(Act(), (Words{"keep w3", "slots 1", "heartbeat 0"}));
  EXPECT_FALSE(state_.SetSlots(slots));
  EXPECT_EQ(Act(), Words{});
  EXPECT_TRUE(state_.SetSlots({}));
  EXPECT_EQ(Act(), (Words{"slots 0"}));
  Break();
  EXPECT_TRUE(state_.SetSlots(slots));
  EXPECT_EQ(Act(), (Words{"open", "hello \"w3\" 0"}));  // which says so
  Welcome();
  EXPECT_EQ(Act(), (Words{"heartbeat 0"}));
}

TEST_F(AgentStateTest, KnowsWhetherTasksMayCome) {
  EXPECT_FALSE(state_.awaits_tasks()) << "nobody has spoken";
  Connect();
  EXPECT_FALSE(state_.awaits_tasks()) << "the desired state says it";
  Desire(0);
  EXPECT_TRUE(state_.awaits_tasks());
  Break();
  EXPECT_TRUE(state_.awaits_tasks()) << "the coordinator will be back";
  Connect();
  ConnectResponse drained;
  drained.mutable_desired()->set_withheld(true);
  state_.OnMessage(stream_, drained, now_);
  EXPECT_FALSE(state_.awaits_tasks());
  Desire(0);
  EXPECT_TRUE(state_.awaits_tasks());
  state_.BeginShutdown();
  EXPECT_FALSE(state_.awaits_tasks());
}

TEST_F(AgentStateTest, MessagesOfAnOldStreamAreIgnored) {
  Connect();
  Break();
  Act();
  ConnectResponse message;
  auto* order = message.mutable_desired()->add_orders();
  order->mutable_assignment()->set_task_id("t9");
  order->mutable_assignment()->set_epoch(1);
  order->mutable_assignment()->add_ranks(0);
  state_.OnMessage(stream_ - 1, message, now_);
  EXPECT_EQ(Act(), Words{});
}

TEST_F(AgentStateTest, TasksOutliveAnAwayCoordinatorButNotItsChangeOfMind) {
  RunTask();
  state_.OnStreamClosed(stream_, absl::UnavailableError("away"), now_);
  for (int i = 0; i < 100; ++i) {
    now_ += absl::Hours(1);
    for (const std::string& word : Act()) EXPECT_TRUE(word == "open" || word == "hello \"w3\" 1") << word;
    state_.OnStreamClosed(++stream_, absl::UnavailableError("away"), now_);
  }
  now_ += absl::Hours(1);
  EXPECT_EQ(Act(), (Words{"open", "hello \"w3\" 1"}));
  ++stream_;
  Welcome();
  EXPECT_EQ(Act(), Words{"heartbeat 1"});
  Desire(1);
  EXPECT_EQ(Act(), Words{});
  Desire(0);
  EXPECT_EQ(Act(), Words{"kill t1/1/0"});
}

TEST_F(AgentStateTest, EventsAreSentAgainUntilAcknowledged) {
  RunTask();
  state_.OnReport(kKey, 5, {Metrics()}, {0}, now_);
  EXPECT_EQ(Act(), (Words{"report 5 OK", "events 1 2"}));
  Break();
  EXPECT_EQ(Act(), (Words{"open", "hello \"w3\" 1"}));
  Welcome();
  EXPECT_EQ(Act(), (Words{"heartbeat 1", "events 1 2"}));
  Ack(1);
  Break();
  Act();
  Welcome();
  EXPECT_EQ(Act(), Words{"heartbeat 1"});
}

TEST_F(AgentStateTest, CheckpointIsUploadedBeforeItIsTold) {
  RunTask();
  TaskEvent event;
  event.mutable_checkpoint()->set_model_blob(std::string(64, 'a'));
  state_.OnReport(kKey, 5, {event}, {9}, now_);
  EXPECT_EQ(Act(), (Words{"report 5 OK", "upload 9"}));
  worker::v1::TaskExited exited;
  state_.OnEnded(kKey, exited);
  EXPECT_EQ(Act(), Words{});
  state_.OnUploaded(9);
  EXPECT_EQ(Act(), (Words{"events 1 4 9", "release 9"}));
}

TEST_F(AgentStateTest, ReportsOfStrangersAndTooLargeOnesAreRefused) {
  RunTask();
  state_.OnReport({"t2", 1, 0}, 1, {Metrics()}, {0}, now_);
  state_.OnReport(kKey, 2, {Metrics(1 << 19)}, {0}, now_);
  EXPECT_EQ(Act(), (Words{"report 1 CANCELLED", "report 2 INVALID_ARGUMENT"}));
}

TEST_F(AgentStateTest, EndAfterAllThatWasReported) {
  RunTask();
  state_.OnReport(kKey, 1, {Metrics()}, {0}, now_);
  state_.OnEnded(kKey, worker::v1::TaskExited());
  EXPECT_EQ(Act(), (Words{"report 1 OK", "events 1 2 9"}));
}

TEST_F(AgentStateTest, RendezvousCallsAreAskedAgainAfterABreak) {
  RunTask();
  Ask(1, StoreRequest::OPERATION_GET);
  Ask(2, StoreRequest::OPERATION_ADD);
  EXPECT_EQ(Act(), (Words{"ask 1", "ask 2"}));
  Break();
  Ask(3, StoreRequest::OPERATION_ADD);  // never sent before
  EXPECT_EQ(Act(), (Words{"open", "hello \"w3\" 1"}));
  Welcome();
  EXPECT_EQ(Act(), (Words{"heartbeat 1", "ask 1", "ask 2", "ask 3"}));
  Break();  // and again, however often
  Act();
  Welcome();
  EXPECT_EQ(Act(), (Words{"heartbeat 1", "ask 1", "ask 2", "ask 3"}));
  AnswerAsk(1);
  AnswerAsk(2);
  AnswerAsk(2);  // of an earlier stream, late
  AnswerAsk(3, "epoch 1 is stale");
  EXPECT_EQ(Act(), (Words{"answer 1 OK", "answer 2 OK", "answer 3 ABORTED"}));
}

TEST_F(AgentStateTest, RendezvousEndsInTimeAndWithItsTask) {
  RunTask();
  Ask(1, StoreRequest::OPERATION_GET);
  Act();
  now_ += absl::Seconds(61);
  EXPECT_EQ(Act()[0], "answer 1 DEADLINE_EXCEEDED");
  Ask(2, StoreRequest::OPERATION_GET);
  Act();
  state_.OnEnded(kKey, worker::v1::TaskExited());
  EXPECT_EQ(Act()[0], "answer 2 CANCELLED");
}

TEST_F(AgentStateTest, PredictGoesToItsTaskOrIsAnsweredWithAnError) {
  RunTask();
  ConnectResponse message;
  message.mutable_predict()->set_task_id("t1");
  message.mutable_predict()->set_epoch(1);
  message.mutable_predict()->mutable_input()->set_call_id(8);
  message.mutable_predict()->mutable_input()->add_pictures("jpeg");
  state_.OnMessage(stream_, message, now_);
  message.mutable_predict()->set_epoch(2);
  state_.OnMessage(stream_, message, now_);
  EXPECT_EQ(Act(), (Words{"predict t1/1/0 call 8", "events 1 7"}));
}

TEST_F(AgentStateTest, ShutdownStopsFlushesAndExits) {
  RunTask();
  state_.BeginShutdown();
  EXPECT_EQ(Act(), Words{"stop t1/1/0"});
  state_.OnEnded(kKey, worker::v1::TaskExited());
  EXPECT_EQ(Act(), Words{"events 1 9"});
  Ack(1);
  EXPECT_EQ(Act(), (Words{"close", "exit OK"}));
  EXPECT_EQ(Act(), Words{});
}

TEST_F(AgentStateTest, ShutdownWaitsOnlySoLongForAnAwayCoordinator) {
  RunTask();
  state_.OnStreamClosed(stream_, absl::UnavailableError("away"), now_);
  state_.BeginShutdown();
  Act();
  state_.OnEnded(kKey, worker::v1::TaskExited());
  Act();
  state_.OnStreamClosed(++stream_, absl::UnavailableError("away"), now_);
  Act();
  now_ += absl::Seconds(5);
  const Words words = Act();
  ASSERT_FALSE(words.empty());
  EXPECT_EQ(words.back(), "exit OK");
}

TEST_F(AgentStateTest, HasteKillsAndDoesNotFlush) {
  RunTask();
  state_.KillAll();
  EXPECT_EQ(Act(), Words{"kill t1/1/0"});
  state_.OnEnded(kKey, worker::v1::TaskExited());
  EXPECT_EQ(Act(), (Words{"events 1 9", "close", "exit OK"}));
}

AgentState::Options TinyBuffer() {
  AgentState::Options options;
  options.events.bytes_max = 100;
  return options;
}

class FullAgentStateTest : public AgentStateTest {
 protected:
  FullAgentStateTest() : AgentStateTest(TinyBuffer()) {}
};

TEST_F(FullAgentStateTest, ReportsWaitForRoomThenFail) {
  RunTask();
  state_.OnReport(kKey, 1, {Metrics(20)}, {0}, now_);
  state_.OnReport(kKey, 2, {Metrics()}, {0}, now_);
  state_.OnReport(kKey, 3, {Metrics()}, {0}, now_ + absl::Seconds(1));
  EXPECT_EQ(Act(), (Words{"report 1 OK", "events 1 2"}));
  now_ += absl::Minutes(5);
  const Words words = Act();
  ASSERT_FALSE(words.empty());
  EXPECT_EQ(words[0], "report 2 RESOURCE_EXHAUSTED");
  Ack(1);
  EXPECT_EQ(Act(), (Words{"report 3 OK", "events 2 2"}));
}

}  // namespace
}  // namespace ursa
