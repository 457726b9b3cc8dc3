#include "worker/agent/event_outbox.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using worker::v1::TaskEvent;

const ProcessKey kA{"t1", 1, 0};
const ProcessKey kB{"t2", 1, 0};

TaskEvent Log(const std::string& text) {
  TaskEvent event;
  event.mutable_log()->set_data(text);
  return event;
}
TaskEvent Progress(int64_t step) {
  TaskEvent event;
  event.mutable_progress()->set_step(step);
  return event;
}
TaskEvent Exited() {
  TaskEvent event;
  event.mutable_exited();
  return event;
}
TaskEvent Checkpoint(int64_t step, double valid_loss = -1, bool last = false) {
  TaskEvent event;
  auto* checkpoint = event.mutable_checkpoint();
  checkpoint->set_step(step);
  checkpoint->set_model_blob(Sha256Hex(absl::StrCat(step)));
  checkpoint->set_last(last);
  if (valid_loss >= 0) (*checkpoint->mutable_metrics())["valid_loss"] = valid_loss;
  return event;
}

// What is sent now: "1: log, checkpoint 4; 2: ..." by sequence number.
std::string Sent(EventOutbox* outbox) {
  std::string text;
  for (const auto& message : outbox->TakeMessages()) {
    absl::StrAppend(&text, text.empty() ? "" : "; ", message.sequence(), ":");
    for (const auto& stamped : message.events()) {
      const TaskEvent& event = stamped.event();
      absl::StrAppend(&text, " ", stamped.task_id(), "=");
      if (event.has_log()) absl::StrAppend(&text, event.log().data());
      if (event.has_progress()) absl::StrAppend(&text, "p", event.progress().step());
      if (event.has_checkpoint()) absl::StrAppend(&text, "c", event.checkpoint().step());
      if (event.has_finished()) absl::StrAppend(&text, "failed:", event.finished().reason());
      if (event.has_exited()) absl::StrAppend(&text, "exited");
    }
  }
  return text;
}

class EventOutboxTest : public testing::Test {
 protected:
  // Ids of the uploads that begin now.
  std::vector<int64_t> Uploads() {
    std::vector<int64_t> ids;
    for (const auto& upload : outbox_.TakeUploads()) ids.push_back(upload.event_id);
    return ids;
  }
  EventOutbox outbox_{EventOutbox::Options()};
};

using Ids = std::vector<int64_t>;

TEST_F(EventOutboxTest, NumbersSendsAndForgetsWhenAcknowledged) {
  outbox_.Add(kA, Log("x"));
  outbox_.Add(kB, Log("y"));
  EXPECT_EQ(Sent(&outbox_), "1: t1=x t2=y");
  EXPECT_EQ(Sent(&outbox_), "");
  outbox_.Add(kA, Log("z"));
  EXPECT_EQ(Sent(&outbox_), "2: t1=z");
  outbox_.OnAck(1);
  EXPECT_FALSE(outbox_.empty());
  outbox_.OnAck(2);
  EXPECT_TRUE(outbox_.empty());
}

TEST_F(EventOutboxTest, SendsTheSameNumbersAgainAfterABreak) {
  outbox_.Add(kA, Log("x"));
  EXPECT_EQ(Sent(&outbox_), "1: t1=x");
  outbox_.Add(kA, Log("y"));
  EXPECT_EQ(Sent(&outbox_), "2: t1=y");
  outbox_.OnDisconnected();
  outbox_.OnAck(9);  // of a stream that is no more
  outbox_.Add(kA, Log("z"));
  EXPECT_EQ(Sent(&outbox_), "1: t1=x; 2: t1=y; 3: t1=z");
}

TEST_F(EventOutboxTest, CheckpointHoldsBackItsOwnProcessOnly) {
  outbox_.Add(kA, Log("x"));
  outbox_.Add(kA, Checkpoint(4), 77);
  outbox_.Add(kA, Log("y"));
  outbox_.Add(kB, Log("z"));
  EXPECT_EQ(Uploads(), Ids{77});
  EXPECT_EQ(Uploads(), Ids{});
  EXPECT_EQ(Sent(&outbox_), "1: t1=x t2=z");
  outbox_.OnUploaded(77);
  EXPECT_EQ(outbox_.TakeReleased(), Ids{77});
  EXPECT_EQ(Sent(&outbox_), "2: t1=c4 t1=y");
}

TEST_F(EventOutboxTest, NewerCheckpointsReplaceOlderOnesUnlessBestOrLast) {
  outbox_.Add(kA, Checkpoint(1), 1);
  EXPECT_EQ(Uploads(), Ids{1});                  // begun: it is brought to its end
  outbox_.Add(kA, Checkpoint(2, 0.5), 2);        // best so far
  outbox_.Add(kA, Checkpoint(3), 3);             // replaced by 4
  outbox_.Add(kA, Checkpoint(4, 0.7), 4);        // not the best; replaced by 5
  outbox_.Add(kA, Checkpoint(5, 0.9, true), 5);  // the last one
  outbox_.Add(kA, Checkpoint(6, 0.4), 6);        // takes the place of 2
  EXPECT_EQ(outbox_.TakeReleased(), (Ids{3, 4, 2}));
  for (const int64_t id : {1, 5, 6}) {
    if (id != 1) {
      EXPECT_EQ(Uploads(), Ids{id});
    }
    outbox_.OnUploaded(id);
  }
  EXPECT_EQ(Sent(&outbox_), "1: t1=c1 t1=c5 t1=c6");
}

TEST_F(EventOutboxTest, BestFollowsTheExperimentsMetric) {
  outbox_.SetCheckpointPolicy(kA, {1, "accuracy", false});
  auto with_accuracy = [](int64_t step, double accuracy) {
    TaskEvent event = Checkpoint(step);
    (*event.mutable_checkpoint()->mutable_metrics())["accuracy"] = accuracy;
    return event;
  };
  outbox_.Add(kA, with_accuracy(1, 0.9), 1);
  outbox_.Add(kA, with_accuracy(2, 0.8), 2);
  outbox_.Add(kA, with_accuracy(3, 0.7), 3);
  EXPECT_EQ(outbox_.TakeReleased(), Ids{2});
}

TEST_F(EventOutboxTest, FailedUploadDropsTheEventOrFailsTheTask) {
  outbox_.Add(kA, Checkpoint(1), 1);
  outbox_.Add(kA, Log("x"));
  outbox_.Add(kA, Checkpoint(2, -1, true), 2);
  outbox_.OnUploadFailed(1, "no");
  outbox_.OnUploadFailed(2, "no");
  EXPECT_EQ(Sent(&outbox_), "1: t1=x t1=failed:no");
}

TEST_F(EventOutboxTest, UnwantedCheckpointsAreDropped) {
  outbox_.Add(kA, Checkpoint(1, -1, true), 1);
  EXPECT_EQ(Uploads(), Ids{1});
  outbox_.Add(kA, Exited());
  outbox_.DropWaitingCheckpoints(kA);
  EXPECT_EQ(outbox_.TakeReleased(), Ids{1});
  outbox_.OnUploaded(1);
  EXPECT_EQ(Sent(&outbox_), "1: t1=exited");
}

TEST_F(EventOutboxTest, OnlyTheLatestUnsentProgressIsKept) {
  outbox_.Add(kA, Progress(1));
  outbox_.Add(kA, Log("x"));
  outbox_.Add(kA, Progress(2));
  EXPECT_EQ(Sent(&outbox_), "1: t1=x t1=p2");
  outbox_.Add(kA, Progress(3));
  EXPECT_EQ(Sent(&outbox_), "2: t1=p3");
}

TEST_F(EventOutboxTest, MessagesAreBoundedInSizeAndNumber) {
  EventOutbox::Options options;
  options.message_bytes_aim = 1000;
  options.messages_in_flight_max = 2;
  EventOutbox outbox(options);
  for (int i = 0; i < 10; ++i) outbox.Add(kA, Log(std::string(600, 'a' + i)));
  auto messages = outbox.TakeMessages();
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].events_size(), 2);
  EXPECT_TRUE(outbox.TakeMessages().empty());
  outbox.OnAck(1);
  EXPECT_EQ(outbox.TakeMessages().size(), 1u);
}

TEST_F(EventOutboxTest, CountsRoom) {
  EventOutbox::Options options;
  options.bytes_max = 1000;
  options.log_bytes_max = 500;
  EventOutbox outbox(options);
  EXPECT_EQ(outbox.LogRoom(kA), 500u);
  outbox.Add(kA, Log(std::string(600, 'a')));
  EXPECT_EQ(outbox.LogRoom(kA), 0u);
  EXPECT_EQ(outbox.LogRoom(kB), 500u);
  EXPECT_TRUE(outbox.HasRoom());
  outbox.Add(kA, Log(std::string(600, 'a')));
  EXPECT_FALSE(outbox.HasRoom());
  outbox.TakeMessages();
  EXPECT_EQ(outbox.LogRoom(kA), 500u);
  EXPECT_FALSE(outbox.HasRoom()) << "in flight is still in memory";
  outbox.OnAck(1);
  EXPECT_TRUE(outbox.HasRoom());
}

}  // namespace
}  // namespace ursa
