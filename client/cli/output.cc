#include "client/cli/output.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "client/cli/text.h"

namespace ursa::cli {
namespace {

void Write(std::FILE* file, std::string_view text) { std::fwrite(text.data(), 1, text.size(), file); }

}  // namespace

void Output::ClearStatusLine() {
  if (!status_line_shown_) return;
  Write(err_, "\r\x1b[K");
  std::fflush(err_);
  status_line_shown_ = false;
}

void Output::Print(std::string_view text) {
  if (json_) return;
  ClearStatusLine();
  Write(out_, text);
  std::fflush(out_);
}

void Output::PrintJson(const Json& json) {
  if (!json_) return;
  Write(out_, json.Dump() + "\n");
  std::fflush(out_);
}

void Output::PrintAlways(std::string_view text) { Write(out_, text); }

void Output::Warn(std::string_view line) {
  ClearStatusLine();
  Write(err_, std::string(line) + "\n");
  std::fflush(err_);
}

void Output::SetStatusLine(std::string_view line) {
  if (!shows_progress()) return;
  if (line.empty()) {
    ClearStatusLine();
    return;
  }
  Write(err_, "\r" + std::string(line) + "\x1b[K");
  std::fflush(err_);
  status_line_shown_ = true;
}

bool Output::Flush() {
  ClearStatusLine();
  return std::fflush(out_) == 0 && std::ferror(out_) == 0;
}

Progress::~Progress() { out_->SetStatusLine(""); }

void Progress::Update(int64_t done, int64_t total) {
  if (!out_->shows_progress()) return;
  const absl::Time now = Clock::Real()->Now();
  if (start_ == absl::InfinitePast()) {
    start_ = now;
    done_at_start_ = done;
  }
  if (now - drawn_ < absl::Milliseconds(100)) return;
  drawn_ = now;
  out_->SetStatusLine(
      ProgressLine(what_, items_, unit_, done, total, done_at_start_, absl::ToDoubleSeconds(now - start_)));
}

std::string ProgressLine(std::string_view what, std::string_view items, Progress::Unit unit, int64_t done,
                         int64_t total, int64_t done_at_start, double seconds) {
  static constexpr int kWidth = 20;
  const double part = total > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 0;
  const int filled = static_cast<int>(part * kWidth);
  std::string line = std::string(what) + "  [" + std::string(filled, '#') + std::string(kWidth - filled, '-') + "]";
  line += absl::StrFormat("  %3.0f%%", part * 100);
  const bool bytes = unit == Progress::Unit::kBytes;
  const auto show = [bytes](double amount) {
    return bytes ? FormatBytes(amount) : FormatCount(static_cast<int64_t>(amount));
  };
  line += "  " + show(static_cast<double>(done)) + " of " + show(static_cast<double>(total));
  if (!bytes) line.append(" ").append(items);
  if (seconds >= 0.5 && done > done_at_start) {
    const double rate = static_cast<double>(done - done_at_start) / seconds;
    line += "  " + (bytes ? FormatBytes(rate) : absl::StrFormat(rate < 9.95 ? "%.1f" : "%.0f", rate)) + "/s";
    line += "  " + FormatSeconds(static_cast<double>(total - done) / rate) + " left";
  }
  return line;
}

}  // namespace ursa::cli
