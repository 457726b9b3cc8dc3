#include "client/cli/table.h"

#include <algorithm>
#include <cctype>

#include "base/log.h"
#include "client/cli/text.h"

namespace ursa::cli {
namespace {

bool IsNumber(const std::string& cell) {
  return std::all_of(cell.begin(), cell.end(), [](unsigned char c) {
    return std::isdigit(c) || c == '.' || c == '-' || c == '+' || c == ' ' || c == '%';
  });
}

std::string Pad(const std::string& cell, size_t width, bool right) {
  const std::string spaces(width - std::min(width, DisplayWidth(cell)), ' ');
  return right ? spaces + cell : cell + spaces;
}

}  // namespace

void Table::AddRow(std::vector<std::string> cells) {
  URSA_CHECK(cells.size() <= header_.size()) << "a row has more cells than the table has columns";
  cells.resize(header_.size());
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::Render() const {
  std::string out;
  std::vector<size_t> widths(header_.size());
  std::vector<bool> right(header_.size());
  for (size_t column = 0; column < header_.size(); ++column) {
    widths[column] = DisplayWidth(header_[column]);
    right[column] = !rows_.empty();
    for (const auto& row : rows_) {
      widths[column] = std::max(widths[column], DisplayWidth(row[column]));
      right[column] = right[column] && IsNumber(row[column]);
    }
  }
  const auto render = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t column = 0; column < row.size(); ++column) {
      if (column > 0) line += "  ";
      line += Pad(row[column], widths[column], right[column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  render(header_);
  for (const auto& row : rows_) render(row);
  return out;
}

std::string FixedRow(const std::vector<std::string>& cells, const std::vector<size_t>& widths) {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) line += "  ";
    line += Pad(cells[i], i < widths.size() ? widths[i] : 0, /*right=*/true);
  }
  return line;
}

}  // namespace ursa::cli
