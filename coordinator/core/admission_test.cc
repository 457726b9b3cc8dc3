// Who may join, and who may speak for whom.
#include "coordinator/core/admission.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/digest.h"
#include "coordinator/core/coordinator_testing.h"
#include "experiments/labels.h"

namespace ursa {
namespace {

constexpr char kToken[] = "one-time";

class AdmissionTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::WorkerInvite> Invite(const std::string& token, const std::string& pool = "",
                                          const std::vector<std::string>& labels = {}, int64_t valid_seconds = 3600) {
    v1::InviteWorkerRequest request;
    request.set_token_hash(Sha256Hex(token));
    request.set_pool(pool);
    for (const std::string& label : labels) *request.add_labels() = *ParseLabel(label);
    request.set_valid_seconds(valid_seconds);
    return harness_.Change<v1::WorkerInvite>(
        [&](Tx& tx, const Caller& c) { return harness_.coordinator().admission().Invite(tx, c, request); });
  }
  // As the server does: first whose token it is, then the call.
  absl::StatusOr<std::string> Join(const std::string& token, const std::string& credential) {
    const auto identity = harness_.coordinator().access().Authenticate(token);
    if (!identity.ok()) return identity.status();
    const absl::Status allowed = Authorize(*identity, "/ursa.worker.v1.WorkerService/Join");
    if (!allowed.ok()) return allowed;
    worker::v1::JoinRequest request;
    request.set_credential_hash(Sha256Hex(credential));
    const auto answer = harness_.Change<worker::v1::JoinResponse>([&](Tx& tx, const Caller&) {
      return harness_.coordinator().admission().Join(tx, Caller{identity->actor}, request);
    });
    if (!answer.ok()) return answer.status();
    return answer->worker_id();
  }
  absl::StatusOr<v1::WorkerInvite> Revoke(const std::string& id) {
    v1::RevokeWorkerInviteRequest request;
    request.set_id(id);
    return harness_.Change<v1::WorkerInvite>(
        [&](Tx& tx, const Caller& c) { return harness_.coordinator().admission().Revoke(tx, c, request); });
  }
  absl::StatusOr<v1::ListWorkerInvitesResponse> ListInvites(int page_size = 0, const std::string& page_token = "") {
    v1::ListWorkerInvitesRequest request;
    request.set_page_size(page_size);
    request.set_page_token(page_token);
    return harness_.Read<v1::ListWorkerInvitesResponse>(
        [&](const Tx& tx) { return harness_.coordinator().admission().List(tx, request); });
  }
  absl::StatusOr<v1::Worker> Remove(const std::string& id) {
    v1::RemoveWorkerRequest request;
    request.set_name(id);
    return harness_.Change<v1::Worker>(
        [&](Tx& tx, const Caller& c) { return harness_.coordinator().workers().Remove(tx, c, request); });
  }
  // A worker that shows the credential.
  FakeWorker WithCredential(const std::string& credential, const std::string& id) {
    FakeWorker worker("incarnation of " + credential);
    worker.set_token(harness_.coordinator().access().Authenticate(credential)->actor);
    worker.hello().set_worker_id(id);
    return worker;
  }
  v1::ListWorkersResponse List() {
    return *harness_.Read<v1::ListWorkersResponse>(
        [&](const Tx& tx) { return harness_.coordinator().workers().List(tx, v1::ListWorkersRequest()); });
  }

  Harness harness_;
};

TEST_F(AdmissionTest, AnInvitationMakesOneWorker) {
  ASSERT_EQ(Invite(kToken, "gpu", {"gpu=h100"})->id(), "invite-1");
  EXPECT_EQ(*Join(kToken, "mine"), "w1");
  EXPECT_EQ(*Join(kToken, "mine"), "w1");  // its answer was lost
  const absl::Status other = Join(kToken, "another's").status();
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(other.message().find("worker w1 has joined with it"), std::string::npos) << other;

  harness_.Restart();
  EXPECT_EQ(Join(kToken, "another's").status().code(), absl::StatusCode::kFailedPrecondition);
  FakeWorker worker = WithCredential("mine", "w1");
  *worker.hello().add_labels() = *ParseLabel("zone=a");
  harness_.Connect(&worker);
  ASSERT_TRUE(worker.closed().ok()) << worker.closed();
  EXPECT_EQ(worker.id(), "w1");
  const v1::Worker listed = List().workers(0);
  EXPECT_EQ(listed.pool(), "gpu");
  EXPECT_EQ(LabelTexts(listed.labels()), (std::vector<std::string>{"gpu=h100", "zone=a"}));
  EXPECT_TRUE(listed.joined());
  EXPECT_EQ(listed.display_name(), "test");
}

TEST_F(AdmissionTest, ATokenThatMayJoinMayNothingElse) {
  ASSERT_TRUE(Invite(kToken).ok());
  const auto identity = harness_.coordinator().access().Authenticate(kToken);
  EXPECT_TRUE(Authorize(*identity, "/ursa.worker.v1.WorkerService/Join").ok());
  for (const char* path : {"/ursa.worker.v1.WorkerService/Connect", "/ursa.v1.BlobService/DownloadBlob",
                           "/ursa.v1.ClusterService/GetStatus", "/ursa.v1.ClusterService/InviteWorker"}) {
    EXPECT_EQ(Authorize(*identity, path).code(), absl::StatusCode::kPermissionDenied) << path;
  }
  ASSERT_TRUE(Join(kToken, "mine").ok());
  const auto worker = harness_.coordinator().access().Authenticate("mine");
  EXPECT_TRUE(Authorize(*worker, "/ursa.worker.v1.WorkerService/Connect").ok());
  EXPECT_FALSE(Authorize(*worker, "/ursa.worker.v1.WorkerService/Join").ok());
}

TEST_F(AdmissionTest, AnInvitationEnds) {
  ASSERT_TRUE(Invite(kToken, "", {}, 60).ok());
  ASSERT_TRUE(Invite("used", "", {}, 60).ok());
  ASSERT_TRUE(Join("used", "mine").ok());
  harness_.clock().Advance(absl::Seconds(59));
  EXPECT_TRUE(harness_.coordinator().access().Authenticate(kToken).ok());
  harness_.clock().Advance(absl::Seconds(1));
  const absl::Status expired = Join(kToken, "late").status();
  EXPECT_EQ(expired.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_NE(expired.message().find("has expired"), std::string::npos) << expired;
  harness_.Advance(absl::Seconds(1));
  EXPECT_EQ(Join(kToken, "late").status().message(), "token: is not valid");  // forgotten
  EXPECT_EQ(*Join("used", "mine"), "w1");
  harness_.Advance(harness_.options().request_age_max);
  EXPECT_FALSE(Join("used", "mine").ok());
  EXPECT_TRUE(harness_.coordinator().access().Authenticate("mine").ok());  // the credential stays
}

TEST_F(AdmissionTest, InvitationsAreListedWithoutTheirTokens) {
  EXPECT_EQ(ListInvites()->invites_size(), 0);
  ASSERT_TRUE(Invite("a", "gpu", {"zone=a", "gpu=h100"}, 60).ok());
  ASSERT_TRUE(Invite("b").ok());
  ASSERT_TRUE(Invite("c").ok());
  ASSERT_EQ(*Join("b", "mine"), "w1");
  const auto all = ListInvites();
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->invites_size(), 3);
  const v1::WorkerInvite& first = all->invites(0);
  EXPECT_EQ(first.id(), "invite-1");
  EXPECT_EQ(first.pool(), "gpu");
  EXPECT_EQ(LabelTexts(first.labels()), (std::vector<std::string>{"gpu=h100", "zone=a"}));
  EXPECT_EQ(first.expire_time().seconds(), first.create_time().seconds() + 60);
  EXPECT_EQ(first.worker_id(), "");
  EXPECT_EQ(all->invites(1).worker_id(), "w1");
  for (const char* token : {"a", "b", "c", "mine"}) {
    EXPECT_EQ(all->SerializeAsString().find(Sha256Hex(token)), std::string::npos) << token;
  }
  const auto page = ListInvites(2);
  EXPECT_EQ(page->invites_size(), 2);
  const auto rest = ListInvites(2, page->next_page_token());
  ASSERT_EQ(rest->invites_size(), 1);
  EXPECT_EQ(rest->invites(0).id(), "invite-3");
  EXPECT_EQ(rest->next_page_token(), "");
  EXPECT_EQ(ListInvites(2, "worker-w1").status().code(), absl::StatusCode::kInvalidArgument);
  harness_.Advance(absl::Seconds(60));
  EXPECT_EQ(ListInvites()->invites(0).id(), "invite-2");  // the first has ended
}

TEST_F(AdmissionTest, AnOpenInvitationCanBeRevoked) {
  ASSERT_TRUE(Invite(kToken).ok());
  ASSERT_TRUE(Invite("used").ok());
  ASSERT_EQ(*Join("used", "mine"), "w1");
  EXPECT_EQ(Revoke("invite-1")->id(), "invite-1");
  EXPECT_EQ(Join(kToken, "late").status().message(), "token: is not valid");
  harness_.Restart();
  EXPECT_EQ(Join(kToken, "late").status().message(), "token: is not valid");
  EXPECT_EQ(ListInvites()->invites_size(), 1);

  EXPECT_EQ(Revoke("invite-1").status().code(), absl::StatusCode::kNotFound);
  const absl::Status used = Revoke("invite-2").status();
  EXPECT_EQ(used.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(used.message().find("hint: ursa worker remove w1"), std::string::npos) << used;
  for (const char* other : {"admin", "worker-w1", ""}) {
    EXPECT_EQ(Revoke(other).status().code(), absl::StatusCode::kInvalidArgument) << other;
  }
  EXPECT_TRUE(harness_.coordinator().access().Authenticate("mine").ok());
}

TEST_F(AdmissionTest, BadInvitationsAreRefused) {
  ASSERT_TRUE(Invite(kToken).ok());
  struct Case {
    absl::StatusOr<v1::WorkerInvite> answer;
    absl::StatusCode code;
  };
  for (const Case& c : {Case{Invite(kToken), absl::StatusCode::kAlreadyExists},
                        Case{Invite("a", "No Pool"), absl::StatusCode::kInvalidArgument},
                        Case{Invite("a", "", {"a=1", "a=2"}), absl::StatusCode::kInvalidArgument},
                        Case{Invite("a", "", {}, 59), absl::StatusCode::kInvalidArgument},
                        Case{Invite("a", "", {}, INT64_MAX), absl::StatusCode::kInvalidArgument}}) {
    EXPECT_EQ(c.answer.status().code(), c.code) << c.answer.status();
  }
  v1::InviteWorkerRequest no_hash;
  no_hash.set_token_hash(kToken);
  no_hash.set_valid_seconds(60);
  const auto answer = harness_.Change<v1::WorkerInvite>(
      [&](Tx& tx, const Caller& c) { return harness_.coordinator().admission().Invite(tx, c, no_hash); });
  EXPECT_NE(answer.status().message().find("no SHA-256 hash"), std::string::npos) << answer.status();
}

TEST_F(AdmissionTest, AWorkerSpeaksForItselfAlone) {
  ASSERT_TRUE(Invite("a").ok());
  ASSERT_TRUE(Invite("b", "gpu", {"gpu=h100"}).ok());
  ASSERT_EQ(*Join("a", "of w1"), "w1");
  ASSERT_EQ(*Join("b", "of w2"), "w2");
  FakeWorker first = WithCredential("of w1", "w1");
  harness_.Connect(&first);
  ASSERT_TRUE(first.closed().ok()) << first.closed();

  FakeWorker thief = WithCredential("of w2", "w1");
  harness_.Connect(&thief);
  EXPECT_EQ(thief.closed().code(), absl::StatusCode::kPermissionDenied) << thief.closed();
  FakeWorker shared("with the folder's token");
  shared.hello().set_worker_id("w1");
  harness_.Connect(&shared);
  EXPECT_EQ(shared.closed().code(), absl::StatusCode::kPermissionDenied) << shared.closed();
  EXPECT_TRUE(first.closed().ok()) << "it was thrown out";

  // The id need not be known: the credential says it.
  FakeWorker second = WithCredential("of w2", "");
  second.hello().set_pool("default");
  harness_.Connect(&second);
  EXPECT_NE(second.closed().message().find("its invitation is for \"gpu\""), std::string::npos) << second.closed();
  second.hello().set_pool("gpu");
  *second.hello().add_labels() = *ParseLabel("gpu=a100");
  harness_.Connect(&second);
  EXPECT_EQ(second.closed().code(), absl::StatusCode::kPermissionDenied) << second.closed();
  second.hello().clear_labels();
  harness_.Connect(&second);
  ASSERT_TRUE(second.closed().ok()) << second.closed();
  EXPECT_EQ(second.id(), "w2");
}

TEST_F(AdmissionTest, RemovalRevokes) {
  ASSERT_TRUE(Invite(kToken).ok());
  ASSERT_EQ(*Join(kToken, "mine"), "w1");
  FakeWorker worker = WithCredential("mine", "w1");
  harness_.Connect(&worker);
  harness_.MakeDataset(&worker, "bears");
  const auto submitted = harness_.Submit("bears");
  ASSERT_TRUE(submitted.ok()) << submitted.status();
  ASSERT_NE(worker.FindOrder("t1.1"), nullptr);

  ASSERT_TRUE(Remove("workers/w1").ok());
  EXPECT_EQ(worker.closed().code(), absl::StatusCode::kPermissionDenied) << worker.closed();
  EXPECT_FALSE(harness_.coordinator().access().Authenticate("mine").ok());
  EXPECT_EQ(List().workers_size(), 0);
  EXPECT_EQ(Remove("workers/w1").status().code(), absl::StatusCode::kNotFound);
  // A stream that was opened before, with a hello that comes now.
  harness_.Connect(&worker);
  EXPECT_EQ(worker.closed().message(), "token worker-w1: has been revoked");
  EXPECT_EQ(List().workers_size(), 0);
  EXPECT_EQ(Join(kToken, "another's").status().code(), absl::StatusCode::kFailedPrecondition);
  harness_.Advance(absl::Seconds(1));
  EXPECT_EQ(harness_.Get("e1").state(), v1::Experiment::STATE_QUEUED);  // it waits for another worker

  FakeWorker other("o1");
  harness_.Connect(&other);
  ASSERT_EQ(other.id(), "w2");
  EXPECT_NE(other.FindOrder("t1.1"), nullptr);
  EXPECT_EQ(Remove("workers/w2").status().code(), absl::StatusCode::kFailedPrecondition);
  harness_.Disconnect(&other);
  EXPECT_TRUE(Remove("workers/w2").ok());
}

TEST_F(AdmissionTest, WhoHasJoinedAndIsAwayIsKept) {
  ASSERT_TRUE(Invite(kToken).ok());
  ASSERT_TRUE(Join(kToken, "mine").ok());
  FakeWorker joined = WithCredential("mine", "w1");
  FakeWorker shared("s1");
  harness_.Connect(&joined);
  harness_.Connect(&shared);
  harness_.Disconnect(&joined);
  harness_.Disconnect(&shared);
  harness_.Advance(absl::Seconds(4));
  harness_.clock().Advance(harness_.options().lost_worker_age_max);
  harness_.Advance(absl::Seconds(4));
  ASSERT_EQ(List().workers_size(), 1);
  EXPECT_EQ(List().workers(0).id(), "w1");
  EXPECT_EQ(List().workers(0).state(), v1::Worker::STATE_LOST);
}

}  // namespace
}  // namespace ursa
