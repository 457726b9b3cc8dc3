// The examples of one split, as the loader sees them.
#ifndef URSA_WORKER_DATA_EXAMPLE_SOURCE_H_
#define URSA_WORKER_DATA_EXAMPLE_SOURCE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"

namespace ursa {

// Immutable and thread-safe. Indices are 0..size()-1, in the order of the split: that order is what the seed shuffles.
class ExampleSource {
 public:
  virtual ~ExampleSource() = default;
  virtual int64_t size() const = 0;

  // The bytes of the image file of example `index`. Any error; the loader adds source and id to it.
  virtual absl::StatusOr<std::string> Read(int64_t index) const = 0;

  virtual int64_t Label(int64_t index) const = 0;

  // The example's id, and where its bytes come from: for error texts.
  virtual const std::string& Id(int64_t index) const = 0;
  virtual const std::string& Location(int64_t index) const = 0;
};

struct ExampleRef {
  std::string path;
  int64_t label = 0;
  std::string id;
};

// Examples that are files, as in the agent's blob cache.
class FileExampleSource : public ExampleSource {
 public:
  explicit FileExampleSource(std::vector<ExampleRef> examples) : examples_(std::move(examples)) {}

  int64_t size() const override { return static_cast<int64_t>(examples_.size()); }
  absl::StatusOr<std::string> Read(int64_t index) const override { return ReadFile(examples_[index].path); }
  int64_t Label(int64_t index) const override { return examples_[index].label; }
  const std::string& Id(int64_t index) const override { return examples_[index].id; }
  const std::string& Location(int64_t index) const override { return examples_[index].path; }

 private:
  const std::vector<ExampleRef> examples_;
};

}  // namespace ursa

#endif  // URSA_WORKER_DATA_EXAMPLE_SOURCE_H_
