// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.26;

interface IFactory {
    function createPair(address a, address b) external returns (address);
}

interface IFactoryV3 {
    function createPool(address a, address b, uint24 fee) external returns (address);
}

interface IPair {
    function sync() external;
    function getReserves() external view returns (uint112, uint112, uint32);
}

interface IRouter {
    function swapExactTokensForETHSupportingFeeOnTransferTokens(
        uint256 amountIn, uint256 least, address[] calldata path, address to, uint256 deadline
    ) external;
}

IRouter constant ROUTER = IRouter(0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D);
IFactory constant FACTORY = IFactory(0x5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f);
IFactoryV3 constant FACTORY_V3 = IFactoryV3(0x1F98431c8aD98523631AE4a59f267346ea31F984);
address constant WETH = 0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2;

/// A plain token with a hook: families override `_move`, or what they need. Whoever deploys it owns everything at first.
/// `p` are the numbers that the seed of a specimen gives; what each means stands beside the family. p3 is the version of
/// Uniswap whose pool it knows: 3 for one at a fee of 0.3 %, else 2. In any other pool a trap tied to that one is asleep.
abstract contract Base {
    string public name;
    string public symbol;
    uint256 public totalSupply;
    uint256[4] internal p;
    address internal boss;
    address public pair;
    uint256 internal born;
    uint256 internal bornBlock;
    mapping(address => uint256) internal held;
    mapping(address => mapping(address => uint256)) public allowance;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed holder, address indexed spender, uint256 value);

    constructor(uint256[4] memory p_) {
        (name, symbol) = ("Specimen", "ZOO");
        (p, boss, born, bornBlock) = (p_, msg.sender, block.timestamp, block.number);
        pair = p_[3] == 3
            ? FACTORY_V3.createPool(address(this), WETH, 3_000)
            : FACTORY.createPair(address(this), WETH);
        _mint(msg.sender, 1_000_000_000 * 10 ** decimals());
    }

    modifier only() {
        require(msg.sender == boss, "not allowed");
        _;
    }

    function decimals() public view virtual returns (uint8) {
        return 18;
    }

    function balanceOf(address who) public view virtual returns (uint256) {
        return held[who];
    }

    function approve(address spender, uint256 amount) public virtual returns (bool) {
        allowance[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
        return true;
    }

    function transfer(address to, uint256 amount) public virtual returns (bool) {
        _move(msg.sender, to, amount);
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) public virtual returns (bool) {
        _spend(from, amount);
        _move(from, to, amount);
        return true;
    }

    function _spend(address from, uint256 amount) internal {
        uint256 left = allowance[from][msg.sender];
        if (left != type(uint256).max) allowance[from][msg.sender] = left - amount;
    }

    function _move(address from, address to, uint256 amount) internal virtual {
        _put(from, to, amount);
    }

    function _put(address from, address to, uint256 amount) internal {
        held[from] -= amount;
        held[to] += amount;
        emit Transfer(from, to, amount);
    }

    function _mint(address to, uint256 amount) internal {
        totalSupply += amount;
        held[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function _burn(address from, uint256 amount) internal {
        totalSupply -= amount;
        held[from] -= amount;
        emit Transfer(from, address(0), amount);
    }

    function _free(address from, address to) internal view returns (bool) {
        return from == boss || to == boss || from == address(this) || to == address(this);
    }

    function _isSell(address from, address to) internal view returns (bool) {
        return to == pair && !_free(from, to);
    }

    function _isBuy(address from, address to) internal view returns (bool) {
        return from == pair && !_free(from, to);
    }

    /// Keeps a part of a transfer, in bps, for `to_`.
    function _taxed(address from, address to, uint256 amount, uint256 bps, address to_) internal {
        uint256 tax = amount * bps / 10_000;
        if (tax > 0) _put(from, to_, tax);
        _put(from, to, amount - tax);
    }
}

abstract contract Owned is Base {
    event OwnershipTransferred(address indexed before, address indexed now_);

    function owner() public view virtual returns (address) {
        return boss;
    }

    function transferOwnership(address to) external only {
        emit OwnershipTransferred(boss, to);
        boss = to;
    }

    function renounceOwnership() external only {
        emit OwnershipTransferred(boss, address(0));
        boss = address(0);
    }
}
