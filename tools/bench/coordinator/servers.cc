#include "tools/bench/coordinator/servers.h"

#include <google/protobuf/text_format.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"
#include "coordinator/state/entities.h"
#include "storage/keys.h"
#include "storage/record_store.h"
#include "storage/rocks_kv_store.h"
#include "tools/bench/coordinator/load.h"
#include "ursa/v1/cluster.grpc.pb.h"

namespace ursa {
namespace {

constexpr absl::Duration kStartTime = absl::Seconds(30);

std::string WaitForFile(const std::string& path) {
  const absl::Time deadline = absl::Now() + kStartTime;
  for (;;) {
    const auto text = ReadFile(path);
    if (text.ok() && !text->empty()) return std::string(absl::StripAsciiWhitespace(*text));
    URSA_CHECK(absl::Now() < deadline) << path << ": a server has not written it";
    absl::SleepFor(absl::Milliseconds(10));
  }
}

void WaitUntilConnected(const std::string& address) {
  URSA_CHECK(MakeChannels(address, 1)[0]->WaitForConnected(absl::ToChronoTime(absl::Now() + kStartTime))) << address;
}

int FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  URSA_CHECK(::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0) << "no free port";
  URSA_CHECK(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) << "no name";
  ::close(fd);
  return ntohs(address.sin_port);
}

void PutDataset(const std::string& folder) {
  auto kv = RocksKvStore::Open(folder, {});
  URSA_CHECK_OK(kv.status());
  URSA_CHECK_OK(CheckStoreFormat(kv->get()));
  records::DatasetVersionRecord record;
  record.set_manifest_blob(Sha256Hex("manifest"));
  v1::DatasetVersion* version = record.mutable_version();
  version->set_name("datasets/bears/versions/1");
  version->set_dataset("bears");
  version->set_version(1);
  version->set_num_examples(2000);
  version->set_num_train(1600);
  version->set_num_valid(400);
  for (const char* label : {"black", "grizzly", "teddy"}) version->add_classes(label);
  using Traits = EntityTraits<records::DatasetVersionRecord>;
  RecordBatch batch;
  batch.Put(Traits::kTable, RecordId(Traits::KeyOf(record)), record);
  RecordStore records(kv->get());
  URSA_CHECK_OK(records.Commit(batch));
}

}  // namespace

ScratchFolder::ScratchFolder()
    : path_(absl::StrCat(std::filesystem::temp_directory_path().string(), "/ursa-bench-", RandomHex(6))) {
  std::filesystem::create_directories(path_);
}
ScratchFolder::~ScratchFolder() { std::filesystem::remove_all(path_); }

CoordinatorServer::CoordinatorServer(const std::string& binary) : binary_(binary) {
  PutDataset(folder_.path() + "/data");
  Start();
}

void CoordinatorServer::Start() {
  std::filesystem::remove(folder_.path() + "/address");
  process_ = std::make_unique<ChildProcess>(std::vector<std::string>{binary_, "--dir", folder_.path()},
                                            folder_.path() + "/log");
  address_ = WaitForFile(folder_.path() + "/address");
  admin_token_ = WaitForFile(folder_.path() + "/admin.token");
  worker_token_ = WaitForFile(folder_.path() + "/worker.token");
}

void CoordinatorServer::KillAndRestart() {
  process_->Kill();
  Start();
}

v1::Status CoordinatorServer::GetStatus() const {
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer " + admin_token_);
  v1::Status answer;
  const grpc::Status status =
      v1::ClusterService::NewStub(MakeChannels(address_, 1)[0])->GetStatus(&context, v1::GetStatusRequest(), &answer);
  URSA_CHECK(status.ok()) << status.error_message();
  return answer;
}

EchoServer::EchoServer() {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  process_ = std::make_unique<ChildProcess>(
      std::vector<std::string>{self, absl::StrCat("--serve-echo=", folder_.path(), "/address")},
      folder_.path() + "/log");
  address_ = WaitForFile(folder_.path() + "/address");
}

EtcdServer::EtcdServer(const std::string& binary) {
  address_ = absl::StrCat("127.0.0.1:", FreePort());
  const std::string url = "http://" + address_;
  const std::string peer_url = absl::StrCat("http://127.0.0.1:", FreePort());
  process_ = std::make_unique<ChildProcess>(
      std::vector<std::string>{binary, "--data-dir", folder_.path() + "/data", "--listen-client-urls", url,
                               "--advertise-client-urls", url, "--listen-peer-urls", peer_url,
                               "--initial-advertise-peer-urls", peer_url, "--initial-cluster",
                               absl::StrCat("default=", peer_url)},
      folder_.path() + "/log");
  WaitUntilConnected(address_);
  absl::SleepFor(absl::Seconds(2));  // until it has elected itself
}

v1::ExperimentSpec BenchRecipe(int slots, int num_trials) {
  std::string text =
      absl::StrCat("name: 'bench' dataset: 'bears' model { architecture: 'resnet18' } ",
                   "data { item_transforms { resize { size: 32 } } batch_size: 64 } train { fine_tune { epochs: 2 } } ",
                   "resources { slots_per_trial: ", slots, " } ");
  if (num_trials > 0) {
    absl::StrAppend(&text, "searcher { random { max_trials: ", num_trials, " max_concurrent_trials: ", num_trials,
                    " } } ", "hyperparameters { name: 'train.fine_tune.base_lr' log { low: 1e-4 high: 1e-1 } } ");
  }
  v1::ExperimentSpec spec;
  URSA_CHECK(google::protobuf::TextFormat::ParseFromString(text, &spec)) << text;
  return spec;
}

}  // namespace ursa
