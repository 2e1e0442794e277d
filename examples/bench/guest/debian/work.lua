-- Tables, calls, closures and strings: the queens problem, pancake flips, a sieve, word counts.
local function queens(size)
  local columns, up, down, count = {}, {}, {}, 0
  local function place(row)
    if row > size then
      count = count + 1
      return
    end
    for column = 1, size do
      local rising, falling = row + column, row - column + size
      if not columns[column] and not up[rising] and not down[falling] then
        columns[column], up[rising], down[falling] = true, true, true
        place(row + 1)
        columns[column], up[rising], down[falling] = false, false, false
      end
    end
  end
  place(1)
  return count
end

local function flips(size)
  local order, counters, most, round = {}, {}, 0, size
  for index = 1, size do
    order[index] = index
  end
  while true do
    while round ~= 1 do
      counters[round] = round
      round = round - 1
    end
    local copy, turns = {}, 0
    for index = 1, size do
      copy[index] = order[index]
    end
    while copy[1] ~= 1 do
      local low, high = 1, copy[1]
      while low < high do
        copy[low], copy[high] = copy[high], copy[low]
        low, high = low + 1, high - 1
      end
      turns = turns + 1
    end
    if turns > most then
      most = turns
    end
    while true do
      if round == size then
        return most
      end
      local first = table.remove(order, 1)
      table.insert(order, round + 1, first)
      counters[round + 1] = counters[round + 1] - 1
      if counters[round + 1] > 0 then
        break
      end
      round = round + 1
    end
  end
end

local function primes(limit)
  local composite, count = {}, 0
  for number = 2, limit do
    if not composite[number] then
      count = count + 1
      for multiple = number * number, limit, number do
        composite[multiple] = true
      end
    end
  end
  return count
end

local function words(rounds)
  local counts, seed = {}, 12345
  for _ = 1, rounds do
    seed = (seed * 1103515245 + 12345) & 0x7fffffff
    local word = string.format("w%03d", (seed >> 8) % 500)
    counts[word] = (counts[word] or 0) + 1
  end
  local names = {}
  for name in pairs(counts) do
    names[#names + 1] = name
  end
  table.sort(names)
  local text = {}
  for _, name in ipairs(names) do
    text[#text + 1] = name .. "=" .. counts[name]
  end
  local sum = 0
  for byte in table.concat(text, ","):gmatch(".") do
    sum = (sum * 31 + byte:byte()) & 0xffffffff
  end
  return #names, sum
end

print("queens " .. queens(8))
print("flips " .. flips(8))
print("primes " .. primes(300000))
print(string.format("words %d %08x", words(150000)))
